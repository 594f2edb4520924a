"""What to do about a fine-tune that failed, by its error's code."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

REMEDIES: dict[str, Any] = {
    "invalid_training_file": _("Correct the lines that the message names, upload the file again, and start a new fine-tune."),
    "file_not_found": _("Upload the file again and start a new fine-tune with its new id."),
    "model_not_found": _("The base is not served any more. Ask the operator which model to use, and start a new fine-tune."),
    "adapter_rejected": _("The checks or the decision below say why. More or better rows, or fewer epochs, are the usual "
                          "remedy; then start a new fine-tune. Nothing of this one is served."),
    "out_of_memory": _("Start a new fine-tune with a smaller batch_size, or with shorter rows."),
    "not_enough_memory": _("Start a new fine-tune with what the message names: shorter rows, a smaller batch_size or base."),
    "not_enough_disk": _("Start a new fine-tune with less data, or ask the operator for a larger disk."),
    "loss_not_finite": _("Start a new fine-tune with a lower learning_rate_multiplier."),
    "bad_row": _("Correct the row that the message names, upload the file again, and start a new fine-tune."),
    "server_error": _("The fault is the appliance's, not the data's. Give the operator this fine-tune's id; "
                      "the worker's log says more."),
}  # fmt: skip
OTHERWISE = _("Start a new fine-tune; if it fails the same way, give the operator this one's id.")


def remedy(code: str) -> Any:
    """What to do next."""
    return REMEDIES.get(code, OTHERWISE)
