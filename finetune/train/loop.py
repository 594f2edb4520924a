"""The training loop: steps, validation, checkpoints, the end. Runs inside an engine slot.

Deterministic on the CPU with a fixed number of threads: a run that is stopped anywhere and resumed ends with the same
bytes as one that was not.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from finetune.manifest import Manifest
from finetune.train import bases, state
from finetune.train.adapter import write_adapter
from finetune.train.errors import LossNotFinite, RowRefused
from finetune.train.fused import fuse
from finetune.train.head import Batch, autocast, check_head, end_to_end, loss_sum, side_by_side
from finetune.train.holes import Holes
from finetune.train.methods import FULL, LORA
from finetune.train.model import load_tokenizer
from finetune.train.order import batch_of, micro_batches, packs_of, steps_per_epoch
from finetune.train.results import folder_of, write_result
from finetune.train.rows import examples_of
from finetune.train.schedule import learning_rate
from finetune.train.shares import parts_of
from finetune.train.spec import MICRO_BATCH_TOKENS, TrainSpec
from finetune.train.tokens import Example, shortened
from finetune.train.world import World

MAX_GRADIENT = 1.0
STAND_IN_TOKENS = 8
Emit = Callable[..., None]


class Stopped(Exception):
    """The run was asked to stop; its last checkpoint is written."""


class Run:
    """One run: what it has loaded and where it stands."""

    def __init__(self, spec: TrainSpec, emit: Emit, stop: threading.Event, world: World | None = None) -> None:
        """Load data, model and checkpoint. Raises: the package's errors."""
        self.spec, self.emit, self._stop, self.world = spec, emit, stop, world or World()
        _make_repeatable(spec)
        tokenizer = load_tokenizer(spec.model_path)
        holes = Holes(spec.fim_rate, *spec.fim_tokens, spec.seed) if spec.fim_tokens else None
        self.train = examples_of(tokenizer, spec.train, spec.kind, spec.max_length, holes)
        self.validation = examples_of(tokenizer, spec.validation, spec.kind, spec.max_length, holes)
        if not self.train:
            raise RowRefused(f"no row has anything to learn within its first {spec.max_length} tokens")
        # a step's batch counts conversations, but of text as many documents as the context holds
        lengths = [len(example.ids) for example in self.train]
        self.packs = packs_of(lengths, spec.max_length if spec.kind == "text" else 0)
        self.pad_id = tokenizer.pad_token_id or 0
        base, self.apart = bases.load(spec, self.world)
        self.base_bytes = self.world.gathered(sum(state.local(one).nbytes for one in base.parameters()))
        self.model = bases.prepare(base, spec, self.world, self.train, self.apart)
        if self.world.size == 1:  # layers that several ranks hold stay the library's
            fuse(self.model)
        check_head(self.model, spec.device)
        self.optimizer = torch.optim.AdamW(
            state.trained_parameters(self.model).values(), lr=spec.learning_rate, weight_decay=0.0
        )
        self.id = state.fingerprint(spec)
        self.progress = state.Progress()
        if spec.resume_from:
            self.progress = state.restore(spec.resume_from, spec, self.id, self.model, self.optimizer, self.world)
        self.epoch_steps = steps_per_epoch(len(self.packs), spec.batch_size)
        self.steps_total = self.epoch_steps * spec.epochs

    def go(self) -> None:
        """Train to the end and write the adapter. Raises: Stopped; the package's errors."""
        self._tell_start()
        while True:
            self._validate_when_due()
            if self.progress.step == self.steps_total:
                break
            self._stop_when_asked()
            self._step()
            if self.progress.step % self.spec.checkpoint_every_steps == 0:
                self._checkpoint()
        self._finish()

    def _step(self) -> None:
        began, step = time.monotonic(), self.progress.step
        chosen = batch_of(len(self.packs), self.spec.batch_size, self.spec.seed, step)
        batch = [self.train[index] for pack in chosen for index in self.packs[pack]]
        rate = learning_rate(step, self.steps_total, self.spec.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._learn(batch)
        tokens = sum(len(example.ids) for example in batch)
        self._count(batch, loss, tokens)
        seconds = time.monotonic() - began
        self.emit(
            event="step", step=step + 1, loss=loss, learning_rate=rate,
            tokens_per_s=round(tokens / seconds, 1), epoch=step // self.epoch_steps + 1,
        )  # fmt: skip

    def _learn(self, batch: list[Example]) -> float:
        """One step of the optimizer; the batch's mean loss per answer token, before it."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        answers = sum(example.answer_tokens for example in batch)
        total = 0.0
        for examples, part in self._parts(batch):
            with autocast(self.spec.device):
                loss = loss_sum(self.model, part) / answers
            if not examples:  # the other ranks have one more part than this one
                loss = loss * 0
            # FSDP takes the mean over the ranks of what it cuts, and the batch's sum is wanted
            (loss * self.world.size if self.spec.method == FULL else loss).backward()
            total += loss.item()
        total = self.world.sum(total)
        norm = self._clipped()
        if not math.isfinite(total) or not math.isfinite(norm):
            raise LossNotFinite(
                f"step {self.progress.step + 1}: the loss is {total}, its gradient {norm}; lower the learning rate"
            )
        self.optimizer.step()
        return total

    def _clipped(self) -> float:
        """The gradient's norm over all ranks, before it was cut down to the largest that is allowed."""
        parameters = list(state.trained_parameters(self.model).values())
        if self.spec.method != FULL:
            self.world.sum_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def _parts(self, examples: Sequence[Example]) -> Iterator[tuple[list[Example], Batch]]:
        """What goes through this rank's model at once: end to end where documents are kept apart, else side by side.

        Without examples: a part that the other ranks have and this one hasn't; the batch only stands in.
        """
        lengths = [len(example.ids) for example in examples]
        split = packs_of if self.apart else micro_batches
        for indices in parts_of(lengths, self.world.size, split, MICRO_BATCH_TOKENS)[self.world.rank]:
            part = [examples[index] for index in indices]
            shown = part or [shortened(examples[0], STAND_IN_TOKENS)]
            device = self.spec.device
            yield part, end_to_end(shown, device) if self.apart else side_by_side(shown, self.pad_id, device)

    def _count(self, batch: list[Example], loss: float, tokens: int) -> None:
        now = self.progress
        if now.step % self.epoch_steps == 0:
            now.epoch_loss, now.epoch_answers = 0.0, 0
        answers = sum(example.answer_tokens for example in batch)
        now.epoch_loss += loss * answers
        now.epoch_answers += answers
        now.train_loss = now.epoch_loss / now.epoch_answers
        now.trained_tokens += tokens
        now.step += 1

    def _validate_when_due(self) -> None:
        now = self.progress
        if not self.validation or now.step % self.epoch_steps or now.validated_step == now.step:
            return
        self.model.eval()
        total, answers = 0.0, sum(example.answer_tokens for example in self.validation)
        for examples, part in self._parts(self.validation):
            self._stop_when_asked()
            with torch.no_grad(), autocast(self.spec.device):
                loss = float(loss_sum(self.model, part))
            total += loss if examples else 0.0
        now.validated_step, now.validation_loss = now.step, self.world.sum(total) / answers
        self.emit(event="validation", step=now.step, loss=now.validation_loss)

    def _stop_when_asked(self) -> None:
        if self.world.any(self._stop.is_set()):
            self._checkpoint()
            raise Stopped

    def _checkpoint(self) -> None:
        path = state.save(self.spec, self.id, self.model, self.optimizer, self.progress, self.world)
        self.emit(event="checkpoint", step=self.progress.step, path=str(path))

    def _tell_start(self) -> None:
        self.emit(
            event="started", rows=len(self.train), packs=len(self.packs),
            holes=sum(example.has_hole for example in self.train),
            steps_total=self.steps_total, resumed_step=self.progress.step,
            trained_tokens_per_epoch=sum(len(example.ids) for example in self.train),
            answer_tokens_per_epoch=sum(example.answer_tokens for example in self.train),
            **({"base_bytes": self.base_bytes} if self.world.size > 1 else {}),
        )  # fmt: skip

    def _finish(self) -> None:
        if self.spec.method != LORA:
            made = write_result(self.spec, self.id, self.model, self.world)
        else:
            made = write_adapter(self.spec, self.id, self.model) if self.world.leads else None
        self.world.wait()  # a rank that fails now ends the run before it is told to be whole
        if made is not None:
            self._tell_end(made)

    def _tell_end(self, made: Manifest) -> None:
        name = "adapter" if self.spec.method == LORA else "result"
        self.emit(
            event="finished", **{name: str(self.spec.out / folder_of(self.spec.method))}, digest=made.digest,
            trained_tokens=self.progress.trained_tokens, train_loss=self.progress.train_loss,
            validation_loss=self.progress.validation_loss,
        )  # fmt: skip


def _make_repeatable(spec: TrainSpec) -> None:
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    torch.manual_seed(spec.seed)
    # on a GPU some kernels have no repeatable version: those warn, and the run goes on
    torch.use_deterministic_algorithms(True, warn_only=spec.device != "cpu")
