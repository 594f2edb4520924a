"""The gateway's rig, for clients' requests."""

from tests.inference.gateway.conftest import gateway_root, postgres, redis_server, rig

__all__ = ["gateway_root", "postgres", "redis_server", "rig"]
