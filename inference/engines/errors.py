"""What can go wrong between the pool and a kind of engine."""


class EngineError(Exception):
    """Base of this package's errors."""

    code = "engine_error"
    permanent = False


class UnknownEngineKind(EngineError):
    """A deployment names an engine kind that no module here implements."""

    code = "unknown_engine_kind"
    permanent = True


class MetricsMalformed(EngineError):
    """An engine's metrics lack a counter that billing is checked against, or hold nonsense in it."""

    code = "metrics_malformed"


class ListMalformed(EngineError):
    """An engine's list of what it has loaded can't be understood."""

    code = "list_malformed"


class SpecRefused(EngineError):
    """An engine can't be started like this: the reason says what is wrong with what was asked for."""

    code = "spec_refused"
    permanent = True
