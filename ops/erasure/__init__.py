"""Certificates of erasures: what was removed, what is kept and why."""
