"""What is installed in the cache directory: engine slots against their records, models against their manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from appliance.env import Env
from ops.cli.doctor.finding import Finding, failed, ok, warning
from ops.models import manifest
from ops.slots import contents
from ops.slots.errors import SlotError
from ops.slots.install import INCOMPLETE, Slot, verify
from ops.slots.record import read_record

TOLD_FAULTS = 3


def slots(env: Env, deep: bool) -> Iterator[Finding]:
    """Every engine slot: its list of files, and with `deep` every byte."""
    places = sorted(path for path in (env.cache_dir / "engines").glob("*/") if (path / "pyvenv.cfg").exists())
    if not places:
        yield warning(
            "engine slots", f"none in {env.cache_dir / 'engines'}", "`make up` installs one; it takes minutes"
        )
    for place in places:
        try:
            yield _slot(place, deep)
        except (SlotError, OSError) as error:
            yield failed(f"engine slot {place.name}", str(error), f"remove {place}, then `make up` installs it again")


def _slot(place: Path, deep: bool) -> Finding:
    check, record = f"engine slot {place.name}", read_record(place)
    if record is None or (place / INCOMPLETE).exists():
        return warning(check, "not complete", "an installation runs or was cut off; `make up` begins it again")
    slot = Slot(place, record)
    if not slot.python.exists():
        return failed(check, f"{slot.python} is missing", f"remove {place}, then `make up` installs it again")
    whole = contents.digest(place) == record.digest
    faults = verify(slot) if deep else [] if whole else ["the list of installed files is not the one that was recorded"]
    if faults:
        return failed(check, _some(faults), f"remove {place}, then `make up` installs it again")
    return ok(check, f"vLLM {record.vllm_version}, {'every byte as recorded' if deep else 'as recorded'}")


def models(env: Env, deep: bool) -> Iterator[Finding]:
    """Every model directory: the files its manifest lists with their sizes, and with `deep` every byte."""
    for path in sorted((env.cache_dir / "models").glob(f"*/{manifest.FILE_NAME}")):
        yield model(path.parent, deep)


def model(directory: Path, deep: bool) -> Finding:
    """One model directory."""
    check = f"model {directory.name}"
    try:
        faults = manifest.verify(directory, sizes_only=not deep)
    except OSError as error:
        faults = [str(error)]
    if faults:
        return failed(check, _some(faults), f"copy {directory} anew from where it came")
    return ok(check, "every byte as its manifest says" if deep else "all files, with their sizes")


def _some(faults: list[str]) -> str:
    rest = len(faults) - TOLD_FAULTS
    return "; ".join(faults[:TOLD_FAULTS]) + (f"; and {rest} more" if rest > 0 else "")
