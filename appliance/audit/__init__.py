"""Who did what: every privileged act in one hash-chained log, whose newest hash is also kept outside the database."""
