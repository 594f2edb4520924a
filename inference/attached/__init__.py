"""Servers that the pool did not start: their addresses and secrets, as the gateway, the pool and the command line read them."""
