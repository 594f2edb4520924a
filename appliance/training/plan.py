"""A fine-tune's plan: the memory, disk and time it will take, worked out before it starts, kept on the job and told.

The arithmetic is finetune.train.estimate's; here its figures are gathered, and a job that can't be is refused.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from appliance.fleet.merged import merges
from appliance.fleet.models import Deployment, Device
from appliance.registry.models import ModelVersion
from appliance.training import lease
from appliance.training.devices import Leased
from appliance.training.errors import AttemptFailed
from appliance.training.events import add_event
from appliance.training.files import FREE_BYTES
from appliance.training.models import Dataset, Job, JobEvent
from appliance.training.replay import mixed_in
from appliance.training.rooms import THE_MACHINE, room_of, rooms
from finetune.train import estimate
from finetune.train.estimate import gb
from finetune.train.hyperparameters import LORA_RANK, choose, data_of
from finetune.train.memory import Batch, Memory, batch_at_once, memory_of
from finetune.train.shape import Shape, UnknownShape, shape_of
from finetune.train.spec import MICRO_BATCH_TOKENS

MAX_LENGTH = 2048
CHARACTERS_PER_TOKEN = 3.5  # only for choosing hyperparameters; the trainer counts exactly
FORMER_RUNS = 3  # the newest ones tell how quick a device is


class NoDisk(Exception):
    """The data directory is too full for this run at the moment."""

    code = "not_enough_disk"
    permanent = False


class NoMemory(Exception):
    """The device has too little memory left for this run at the moment."""

    code = "not_enough_memory"
    permanent = False


@dataclass(frozen=True)
class Run:
    """What is known of a run before it has a device. `shape`: None where the base's architecture is not known."""

    shape: Shape | None
    targets: tuple[str, ...]
    batch: Batch
    data_bytes: int
    epochs: int
    disk: estimate.Disk

    def memory(self, kind: str) -> Memory | None:
        """What it takes on a device of torch's kind."""
        if self.shape is None:
            return None
        tokens = round(self.data_bytes / CHARACTERS_PER_TOKEN)
        return memory_of(self.shape, self.targets, LORA_RANK, self.batch, kind, all_tokens=tokens)


def known_shape(model: ModelVersion) -> Shape | None:
    """A base's shape, where its architecture is known and its files are there."""
    try:
        return shape_of(Path(model.path))
    except UnknownShape:
        return None


def never_fits(model: ModelVersion, targets: Sequence[str]) -> str | None:
    """Why not even one token at a time can be trained on any device here; None where it may be."""
    shape = known_shape(model)
    if shape is None:
        return None
    needs = (memory_of(shape, targets, LORA_RANK, Batch(1, 1), kind) for kind in ("cpu", "cuda"))
    return _in_vain(dict(zip(("cpu", "cuda"), needs, strict=True)))


def look_ahead(job: Job, training: Dataset, targets: tuple[str, ...]) -> Run:
    """Work out a run before it gets a device.

    Raises: AttemptFailed where it can't ever run here; NoDisk where the disk is too full now.
    """
    run = _run(job, training, targets)
    needs = {kind: need for kind in ("cpu", "cuda") if (need := run.memory(kind)) is not None}
    never = _in_vain(needs) if needs else None
    if never is not None:
        raise AttemptFailed(NoMemory.code, never, "model")
    usage = shutil.disk_usage(settings.ENV.data_dir)
    if estimate.too_little_disk(run.disk, usage.total, FREE_BYTES) is not None:
        raise AttemptFailed(
            NoDisk.code,
            f"it needs {gb(run.disk.total)}, more than the data directory's whole disk of {gb(usage.total)}",
        )
    short = estimate.too_little_disk(run.disk, usage.free, FREE_BYTES)
    if short is not None:
        raise NoDisk(short)
    return run


def settle(job: Job, fence: int, run: Run, device: Leased) -> None:
    """Keep the plan on the job and tell it, now that the run has a device.

    Raises: NoMemory where the device has too little left now; LeaseLost.
    """
    need, room = run.memory(device.kind), room_of(device.id)
    short = estimate.too_little_memory(need, room) if need is not None and room is not None else None
    if short is not None:
        raise NoMemory(short)
    name = Device.everywhere.filter(pk=device.id).values_list("name", flat=True).first() or device.kind
    rates = _former_rates(job, name, device.threads)
    lasts = estimate.duration_of(run.data_bytes, run.epochs, run.shape, device.kind, device.threads, rates)
    free = shutil.disk_usage(settings.ENV.data_dir).free
    plan: dict[str, Any] = {
        "device": {"id": device.id, "name": name, "threads": device.threads},
        "memory": None if need is None else {
            **asdict(need), "total": need.total, "available": None if room is None else room.available,
        },
        "disk": {**asdict(run.disk), "total": run.disk.total, "free": free, "reserve": FREE_BYTES},
        "time": None if lasts is None else asdict(lasts),
    }  # fmt: skip
    if (mixed := mixed_in(job.pk)) is not None:
        plan["replay"] = mixed.facts
    with lease.holding(job.pk, fence):
        lease.held(job.pk, fence).update(plan=plan)
        add_event(job.pk, in_words(plan))


def in_words(plan: dict[str, Any]) -> str:
    """One line for people."""
    memory, disk, time = plan["memory"], plan["disk"], plan["time"]
    parts = [f"plan for {plan['device']['id']}: "]
    if memory is None:
        parts.append("memory is not known for this architecture")
    else:
        names = ("weights", "adapter", "gradients", "optimizer", "activations", "runtime")
        has = "" if memory["available"] is None else f" of {gb(memory['available'])}"
        parts.append(
            f"memory {' + '.join(f'{gb(memory[name])} {name}' for name in names)} = {gb(memory['total'])}{has}"
        )
    if "replay" in plan:
        parts.append(f"; {plan['replay']['rows']} rows of replay")
    parts.append(f"; disk {gb(disk['total'])} of {gb(disk['free'])} free, {gb(disk['reserve'])} of it kept")
    if time is None:
        return "".join(parts)
    low, high = (_lasts(seconds) for seconds in time["seconds"])
    why = "from former runs" if time["measured"] else "a rough guess, no measurement yet"
    return "".join([*parts, f"; about {time['tokens']} tokens x {time['epochs']} epochs, {low} to {high} ({why})"])


def _lasts(seconds: int) -> str:
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"


def _in_vain(needs: dict[str, Memory]) -> str | None:
    """Why none of the devices could do it; each is asked for what a run takes on its own kind."""
    found = []
    for room in rooms():
        reason = estimate.never_fits(needs["cpu" if room.device == THE_MACHINE else "cuda"], [room])
        if reason is None:
            return None
        found.append((room.at_most, reason))
    return max(found)[1] if found else None


def _run(job: Job, training: Dataset, targets: tuple[str, ...]) -> Run:
    source, mixed = Path(training.path) / "rows.jsonl", mixed_in(job.pk)
    sizes = [_measure(path) for path in (source, *((mixed.rows,) if mixed else ()))]
    data_bytes, longest = sum(size for size, _ in sizes), max(longest for _, longest in sizes)
    num_rows = training.rows + (mixed.count if mixed else 0)
    length = min(MAX_LENGTH, job.base.max_model_len)
    # holes lengthen nothing that is reckoned here: their tokens are a few, bytes are counted at the fewest for a token
    data = data_of(training.kind, num_rows, round(data_bytes / CHARACTERS_PER_TOKEN), length, fills=False)
    chosen = choose(data, job.hyperparameters)
    shape = known_shape(job.base)
    trained = shape.adapter_parameters(targets, LORA_RANK) if shape else 0
    disk = estimate.disk_of(trained, data_bytes, _merged_bytes(job.base))
    row = estimate.longest_tokens(longest, length)
    # a pack is as long as the context, where there is so much text; attention stays within its documents
    together = estimate.longest_tokens(data_bytes, length) if data.packed else row
    most = max(1, round(data_bytes / estimate.FEWEST_BYTES_PER_TOKEN))
    sequences = math.ceil(most / length) if data.packed else num_rows
    batch = batch_at_once(min(chosen.batch_size, sequences), row, together, MICRO_BATCH_TOKENS)
    return Run(shape, targets, batch, data_bytes, chosen.n_epochs, disk)


def _measure(rows: Path) -> tuple[int, int]:
    """The bytes of a dataset's rows, and of its longest one."""
    longest = 0
    with rows.open("rb") as lines:
        for line in lines:
            longest = max(longest, len(line))
    return rows.stat().st_size, longest


def _merged_bytes(base: ModelVersion) -> int:
    """Of the copy that engines which can't apply the adapter need."""
    served = Deployment.objects.filter(model=base, running=True).select_related("model", "slot").first()
    if served is None or not merges(served):
        return 0
    return sum(file.stat().st_size for file in Path(base.path).glob("*.safetensors"))


def _former_rates(job: Job, name: str, threads: int | None) -> list[float]:
    """Tokens a second of the newest runs of this base on such a device."""
    device = {"plan__device__name": name, "plan__device__threads": threads}
    former = Job.objects.filter(base=job.base, adapter__isnull=False, **device).exclude(pk=job.pk)
    found = []
    for other in former.order_by("-created_at").values_list("pk", flat=True)[:FORMER_RUNS]:
        steps = JobEvent.objects.filter(job=other, type="metrics", data__has_key="tokens_per_s").order_by("seq")
        told = list(steps.values_list("data__tokens_per_s", flat=True))
        rate = estimate.rate_of([float(step) for step in told if isinstance(step, int | float) and step > 0])
        found += [] if rate is None else [rate]
    return found
