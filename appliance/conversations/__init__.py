"""Conversations that tenants asked to have kept: who asked, what there is, how long it stays, who read it."""
