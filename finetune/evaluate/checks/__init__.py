"""One module per check: a pure decision over numbers that were measured elsewhere."""
