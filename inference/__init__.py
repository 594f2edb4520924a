"""Serving: catalog, devices, engines, the pool, the gateway and metering. Knows nothing of Django."""
