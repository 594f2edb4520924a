"""What can go wrong around a training run. `code` is what a "failed" event carries."""

from __future__ import annotations


class TrainError(Exception):
    """Base of this package's errors. `permanent`: the same run would fail the same way again."""

    code = "training_failed"
    permanent = True


class BadHyperparameter(TrainError):
    """A hyperparameter that a tenant asked for is unknown or out of range; `name` says which."""

    code = "invalid_hyperparameter"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class SpecRefused(TrainError):
    """A specification with faults: all of them at once."""

    code = "bad_spec"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class RowRefused(TrainError):
    """A row that this model can't be trained on."""

    code = "bad_row"


class ModelRefused(TrainError):
    """A base model that can't take this adapter."""

    code = "bad_model"


class CheckpointRefused(TrainError):
    """A checkpoint that is not whole, or is another run's."""

    code = "bad_checkpoint"


class LossNotFinite(TrainError):
    """The loss or its gradient became infinite or not a number."""

    code = "loss_not_finite"


class OutOfMemory(TrainError):
    """The device or the machine has too little memory for this run."""

    code = "out_of_memory"


class TrainerNotStarted(TrainError):
    """The slot's Python could not be started at all."""

    code = "trainer_not_started"
    permanent = False
