"""The coderack command: one module per group of commands."""
