"""Backups: what an appliance cannot make again, in one directory, and back out of it."""
