"""The ledger of metered usage, filled from the journals."""
