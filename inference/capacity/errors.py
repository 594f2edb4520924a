"""What can be wrong with a question to the planner. A box that is too small is an answer, not an error."""

from __future__ import annotations


class CapacityError(Exception):
    """Base of this package's errors."""

    code = "capacity_error"
    permanent = True


class BadQuestion(CapacityError):
    """The question names something that doesn't exist or can't be; the message holds every fault."""

    code = "bad_question"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class BadMeasurements(CapacityError):
    """A file of published measurements or a calibration can't be used; the message holds every fault."""

    code = "bad_measurements"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)
