"""slot.json: what an installed slot is. It is written last, so its presence means the slot is complete."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.slots.errors import SlotBroken
from ops.slots.files import write_json

FILE_NAME = "slot.json"


@dataclass(frozen=True)
class SlotRecord:
    """One slot's identity. `digest` covers the installed files, `lock_digest` the lock file they came from."""

    name: str
    flavour: str
    vllm_version: str
    lock_digest: str
    digest: str
    installed_at: str

    def write(self, slot: Path) -> None:
        """Declare the slot complete."""
        write_json(slot / FILE_NAME, asdict(self))


def read_record(slot: Path) -> SlotRecord | None:
    """The slot's record, or None for one that is absent or unfinished.

    Raises: SlotBroken when the record can't be understood.
    """
    try:
        return SlotRecord(**json.loads((slot / FILE_NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise SlotBroken(f"{slot / FILE_NAME} is damaged ({error}): remove {slot} and set up again") from error
