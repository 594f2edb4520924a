"""Acceptance: a declared load through the gateway, held against the ledger and the engines' counters, and signed."""
