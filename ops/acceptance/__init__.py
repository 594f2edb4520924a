"""Acceptance runs: a load, what it measured, and a signed certificate of it."""
