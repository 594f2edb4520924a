"""Upgrades as steps that check, apply, verify and undo, with a ledger that a killed one goes on from."""
