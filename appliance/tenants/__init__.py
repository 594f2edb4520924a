"""Tenants, their users, plans and API keys."""
