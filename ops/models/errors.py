"""What can go wrong while a model directory is fetched, converted or checked."""

from __future__ import annotations


class ModelError(Exception):
    """A model can't be used. `permanent` says that trying again unchanged is pointless."""

    code = "model_error"
    permanent = True


class RefusedFile(ModelError):
    """A model directory holds a file that could run code or that nothing reads."""

    code = "refused_model_file"


class ModelIncomplete(ModelError):
    """A model directory has no manifest, or one that can't be understood."""

    code = "model_incomplete"


class ConversionFailed(ModelError):
    """Turning the downloaded file into safetensors failed; the converter's last lines are in the message."""

    code = "conversion_failed"
    permanent = False
