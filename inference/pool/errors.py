"""What can go wrong inside the pool."""


class PoolError(Exception):
    """Base of this package's errors."""

    code = "pool_error"
    permanent = False


class IllegalMove(PoolError):
    """A replica was to change between two states that the table does not join."""

    code = "illegal_move"
    permanent = True


class LaunchFailed(PoolError):
    """An engine's process could not be started at all."""

    code = "launch_failed"


class EngineUnreachable(PoolError):
    """An engine's socket refused, broke off or did not answer in time."""

    code = "engine_unreachable"


class AnotherPoolRuns(PoolError):
    """A second supervisor on the same data directory: only one may act."""

    code = "another_pool_runs"


class AdapterRefused(PoolError):
    """An adapter's files are not what was registered, or the engine would not apply all of them."""

    code = "adapter_refused"
