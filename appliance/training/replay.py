"""Rows of the operator's corpora that a fine-tune on source code trains on beside its own: recalled once for a job.

finetune.data.recall chooses them in a process of its own. They lie in the job's folder and go with it; a tenant is told counts,
digests and the classifier's accuracy, never what they say.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from appliance.env import REPO
from appliance.training.errors import AttemptFailed, BrokeOff
from appliance.training.events import say, say_once
from appliance.training.folders import job_dir
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import Dataset, Job
from appliance.training.patience import patiently
from appliance.training.rows import rows_for
from finetune.data.recall.corpora import corpora
from finetune.files import sync_directory
from finetune.train.hyperparameters import REPLAY as REPLAY_SHARE
from finetune.train.hyperparameters import replay_share

log = logging.getLogger("coderack.training")

REPLAY = "replay"
ROWS, REPORT = "replay.jsonl", "report.json"
TIMEOUT_S = 7200.0
NO_ROOM, DAMAGED = 4, 5  # finetune.data.recall's exit codes


class NoRoomForReplay(Exception):
    """The data directory is too full for replay at the moment."""

    code = "not_enough_disk"
    permanent = False


@dataclass(frozen=True)
class Mixed:
    """What was recalled for a job. `facts` are for its plan, its tenant and the adapter's lineage."""

    rows: Path
    count: int
    facts: dict[str, Any]


def corpora_dir() -> Path:
    """Where the operator's corpora lie."""
    return Path(settings.ENV.data_dir) / "corpora"


def mixed_in(job_id: str) -> Mixed | None:
    """What was recalled for a job; None where nothing was."""
    folder = job_dir(job_id) / REPLAY
    try:
        report = json.loads((folder / REPORT).read_bytes())
    except FileNotFoundError:
        return None
    return Mixed(folder / ROWS, report["rows"], _facts(report)) if report["rows"] else None


def ensure_replay(job: Job, training: Dataset, validation: Dataset | None, heart: Heartbeat) -> None:
    """Recall a job's replay, once: where a former attempt has begun without any, it stays without.

    Raises: LeaseLost, AttemptFailed where a corpus is damaged, NoRoomForReplay, BrokeOff.
    """
    share, folder = replay_share(job.hyperparameters), job_dir(job.pk)
    if not share or (folder / REPLAY).is_dir() or (folder / "attempts").is_dir():
        return
    missing = _missing(training)
    if missing:
        if job.hyperparameters.get(REPLAY_SHARE) is not None:
            say_once(job.pk, f"no replay is mixed in: {missing}")
        return
    own, held_out, _ = rows_for(job.seed, folder, training, validation)
    beside = held_out if validation is None or validation.kind == training.kind else ()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob(f".{REPLAY}-*"):  # of an attempt that was killed: this one holds the job now
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=folder, prefix=f".{REPLAY}-"))
    try:
        say_once(job.pk, "looking for public files like the training file's")
        _recall(own, beside, share, job, work, heart)
        _publish(work, folder / REPLAY)
        report = json.loads((folder / REPLAY / REPORT).read_bytes())  # another attempt's, where that was faster
    finally:
        shutil.rmtree(work, ignore_errors=True)
    patiently(lambda: say(job.pk, heart.fence, said_of(report), once="replay"))


def _publish(work: Path, place: Path) -> None:
    try:
        work.rename(place)
    except OSError:  # another attempt was faster, with the same content
        if not place.is_dir():
            raise
    sync_directory(place.parent)


def _missing(training: Dataset) -> str:
    if training.kind != "text":
        return "the training file holds no source code"
    return "" if corpora(corpora_dir()) else "the operator has registered no corpus"


def said_of(report: dict[str, Any]) -> str:
    """What a job's events say of its replay."""
    of = f"{sum(one['rows'] for one in report['corpora'])} public files"
    digests = ", ".join(one["digest"][:12] for one in report["corpora"])
    if "classifier" not in report:
        return f"no replay is mixed in: {report['left_out']} (corpus {digests})"
    real = report["bytes"] / max(1, report["bytes"] + report["own_bytes"])
    return (
        f"{report['rows']} of {of} (corpus {digests}) are mixed in as replay, {real:.1%} of what is trained on; the "
        f"classifier's held-out accuracy is {report['classifier']['held_out_accuracy']:.2f}, "
        f"{report['near_duplicates_left_out']} near-duplicates were left out"
    )


def _facts(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "share": report["share"], "rows": report["rows"], "bytes": report["bytes"], "digest": report["digest"],
        "corpora": [one["digest"] for one in report["corpora"]],
        "near_duplicates_left_out": report["near_duplicates_left_out"],
        "classifier": report["classifier"],
    }  # fmt: skip


def _recall(own: Path, beside: tuple[Path, ...], share: float, job: Job, out: Path, heart: Heartbeat) -> None:
    argv = [
        sys.executable, "-m", "finetune.data.recall", "--own", str(own), *(f"--beside={path}" for path in beside),
        "--corpora", str(corpora_dir()), "--share", str(share), "--seed", str(job.seed), "--out", str(out),
        "--parent", str(os.getpid()),
    ]  # fmt: skip
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            argv, cwd=REPO, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        ) as process,
    ):
        late = threading.Event()

        def stop_late() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(TIMEOUT_S, stop_late)
        timer.daemon = True
        timer.start()
        heart.when_lost(process.kill)
        try:
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            heart.when_lost(None)
        errors.seek(0)
        said = errors.read()[-2000:]
    heart.check()
    if late.is_set():
        raise AttemptFailed(
            "server_error",
            f"recalling replay took over {TIMEOUT_S / 3600:.0f} hours; ask for a replay_share of 0, or tell the operator",
        )
    _check(job, process.returncode, said)


def _check(job: Job, code: int, said: str) -> None:
    if code:
        log.error("recalling for %s ended with %d: %s", job.pk, code, said)
    if code == DAMAGED:
        raise AttemptFailed(
            "server_error", "the operator's corpus is damaged; tell the operator, or ask for a replay_share of 0"
        )
    if code == NO_ROOM:
        raise NoRoomForReplay("replay would leave too little free")
    if code:
        raise BrokeOff(f"{job.pk}: recalling ended with {code}")
