"""The web console: pages for operators and tenants."""
