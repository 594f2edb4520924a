"""What the ranks of one run say to each other: sums, a wish to stop, waiting. A run of one rank says nothing.

Runs inside an engine slot. A rank learns which one it is from RANK and WORLD_SIZE, as torchrun sets them too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from finetune.train.errors import TrainError

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
# How long a rank waits for the others: the slowest may still be reading the base, or writing a checkpoint.
PATIENCE = timedelta(minutes=30)
LARGE = 2**20  # a gradient of more elements is summed by itself, smaller ones together


@dataclass(frozen=True)
class World:
    """This rank among all."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this rank is the one that tells and writes."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether any rank says so: all come to the same answer."""
        return self.sum(float(flag)) > 0

    def sum(self, value: float) -> float:
        """The ranks' values together."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.all_reduce(told)
        return float(told)

    def wait(self) -> None:
        """Until every rank is here."""
        self.any(False)

    def gathered(self, value: Any) -> list[Any]:
        """Every rank's value."""
        found: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(found, value)
        return found

    def sum_gradients(self, parameters: Iterable[Any]) -> None:
        """The gradients of parameters that every rank holds whole; one that a rank did not need counts as nothing."""
        if self.size == 1:
            return
        small = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.numel() > LARGE:
                distributed.all_reduce(parameter.grad)
            else:
                small.append(parameter.grad)
        if small:
            together = torch.cat([gradient.reshape(-1) for gradient in small])
            distributed.all_reduce(together)
            parts = together.split([gradient.numel() for gradient in small])
            for gradient, part in zip(small, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def join(ranks: int, device: str, meeting: Path, environment: Mapping[str, str] = os.environ) -> World:
    """Meet the other ranks; alone there is nobody to meet.

    `meeting`: a file that doesn't exist yet, unless the environment names a master, as torchrun's does.
    Raises: TrainError when more or fewer were started than the specification asks for.
    """
    rank, size = (int(environment.get(name, alone)) for name, alone in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if size != ranks:
        raise TrainError(f"{size} ranks were started, and the specification asks for {ranks}")
    if size == 1:
        return World()
    if device == "cuda":
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", rank)))
    method = "env://" if "MASTER_ADDR" in environment else f"file://{meeting}"
    distributed.init_process_group(BACKENDS[device], init_method=method, rank=rank, world_size=size, timeout=PATIENCE)
    return World(rank, size, device)


def leave() -> None:
    """Close the connections, after everything is done."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
