"""Tenants' files, datasets made of them, fine-tuning jobs with their lease and events, evaluations and approvals."""
