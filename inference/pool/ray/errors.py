"""What can go wrong between the pool and a Ray cluster."""

from inference.pool.errors import LaunchFailed, PoolError

INSTALL = "install it into the appliance's environment: .venv/bin/pip install --require-hashes -r requirements/ray.lock"


class RayAway(PoolError):
    """The cluster, or Ray itself, is not there."""

    code = "ray_away"


class OrderRefused(LaunchFailed):
    """The other machine can't start this engine."""

    code = "order_refused"
