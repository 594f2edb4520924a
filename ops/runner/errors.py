"""What can go wrong with the runner's processes."""


class RunnerError(Exception):
    """The processes can't be started; the message says which one, why, and what to do."""

    code = "runner"
    permanent = True


class AlreadyRunning(RunnerError):
    """Another runner holds this appliance."""

    code = "already_running"
