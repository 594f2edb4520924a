"""Public code that an operator supplies: kept cleaned, and of it what is most like a tenant's own, mixed in as replay."""
