"""Conversations that a tenant asked to have kept: their keys, and the encrypted files in which they lie."""
