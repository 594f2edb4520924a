"""Merges an adapter into its base in a process of an engine slot. Standard library only: the control plane's side."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from finetune import files
from finetune.merge.errors import CannotMerge, MergeError, NoRoom
from finetune.train import slot

MODULE = "finetune.merge"
THREADS = 1  # it waits for the disk, and engines need the rest
TIMEOUT_S = 4 * 3600.0
_KINDS: dict[str, type[MergeError]] = {kind.code: kind for kind in (CannotMerge, NoRoom)}


def folder_name(base_digest: str, adapter_digest: str) -> str:
    """What the merged copy of two is called: the same two are merged once."""
    return hashlib.sha256(f"{base_digest}\n{adapter_digest}".encode()).hexdigest()[:32]


def run_merge(
    slot_python: Path,
    base: tuple[Path, str],
    adapter: tuple[Path, str],
    out: Path,
    name: str,
    log: Path,
    on_start: Callable[[Callable[[], None]], None] = lambda kill: None,
) -> str:
    """The digest of the merged model's manifest. `base` and `adapter`: a directory and its manifest's digest each.

    It ends with the thread that calls this; `on_start` is given what ends it before its time.
    Raises: MergeError.
    """
    content = {
        "base": str(base[0]), "base_digest": base[1], "adapter": str(adapter[0]), "adapter_digest": adapter[1],
        "out": str(out), "name": name,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix=".merge-", dir=out.parent) as folder:
        spec = Path(folder) / "spec.json"
        files.write_json(spec, content)
        argv, environment = (
            slot.command(slot_python, MODULE, spec),
            slot.environment(slot_python, Path(folder), THREADS),
        )
        try:
            printed, _ = slot.run(argv, environment, log, TIMEOUT_S, on_start)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MergeError(f"the merge could not be run to its end: {error}; see {log}") from error
    return _result(printed, log)


def _result(printed: bytes, log: Path) -> str:
    try:
        told = json.loads(printed.splitlines()[-1])
    except (ValueError, IndexError):
        raise MergeError(f"the merge ended without a word; see {log}") from None
    if "digest" in told:
        return str(told["digest"])
    raise _KINDS.get(str(told.get("error")), MergeError)(str(told.get("message")))
