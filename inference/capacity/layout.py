"""How a model lies on the cards: as the catalog's profile says, or, where there is none, in the usual ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inference.capacity.errors import BadQuestion
from inference.capacity.question import Case
from inference.catalog.architecture import BF16_BYTES, FP8_BYTES, DeepseekV2
from inference.catalog.errors import NoProfile
from inference.catalog.flags import profile_for
from inference.catalog.hardware import CARDS_PER_BOX
from inference.catalog.preset import Profile


@dataclass(frozen=True)
class Layout:
    """Equal replicas, each on its own cards of one server."""

    replicas: int
    tensor_parallel: int = 1
    data_parallel: int = 1
    decode_context_parallel: int = 1
    expert_parallel: bool = False
    kv_element_bytes: int = BF16_BYTES

    @property
    def cards_per_replica(self) -> int:
        """Cards that one replica takes."""
        return self.tensor_parallel * self.data_parallel

    @property
    def expert_split(self) -> int:
        """Over how many cards the routed experts are divided."""
        return self.cards_per_replica if self.expert_parallel else self.tensor_parallel


@dataclass(frozen=True)
class Recommended:
    """The catalog's word on the case: a profile's name, or None, and a sentence either way.

    `max_sequences` is what the profile's flags let run at once on the whole box.
    """

    profile: str | None
    note: str
    max_sequences: int | None = None


def layouts(case: Case) -> list[Layout]:
    """The layouts to choose from: one where the catalog has a profile for this card and precision.

    Raises: BadQuestion when the profile takes more cards than there are.
    """
    profile = _profile(case)
    if profile is None:
        return list(_usual(case))
    if case.cards < profile.devices:
        raise BadQuestion(
            [
                f"{case.preset.title} takes {profile.devices} cards a replica in the catalog's profile "
                f"{case.card.name}: {case.cards} {'is' if case.cards == 1 else 'are'} too few"
            ]
        )
    return [
        Layout(
            case.cards // profile.devices,
            profile.tensor_parallel,
            profile.data_parallel,
            profile.decode_context_parallel,
            profile.expert_parallel,
            FP8_BYTES if profile.kv_cache_dtype == "fp8" else BF16_BYTES,
        )
    ]


def recommended(case: Case) -> Recommended:
    """The profile to serve with, or why there is none."""
    card, profile = case.card.name, _profile(case)
    if profile is not None and profile.max_model_len >= case.full_tokens:
        name = f"{card}:{profile.variant}" if profile.variant else card
        admitted = profile.max_num_seqs * profile.data_parallel * (case.cards // profile.devices)
        return Recommended(name, f"serve it with --profile {name}", admitted)
    if profile is not None:
        stop = f"its profiles for {card} stop at {profile.max_model_len} tokens of context"
        return Recommended(None, f"{stop}; {case.full_tokens} were asked")
    try:
        other = profile_for(case.preset, card)
    except NoProfile as reason:
        return Recommended(None, str(reason))
    return Recommended(None, f"the catalog serves it on {card} in {other.precision} only: profile {card}")


def _profile(case: Case) -> Profile | None:
    """The shortest profile that is long enough, else the longest. The lora variants are for adapters: not planned for."""
    matching = [
        profile
        for profile in case.preset.profiles
        if case.card.name in profile.hardware
        and profile.variant != "lora"
        and profile.precision in case.precision.stored_as
    ]
    matching.sort(key=lambda profile: profile.max_model_len)
    long_enough = [profile for profile in matching if profile.max_model_len >= case.full_tokens]
    return next(iter(long_enough or matching[-1:]), None)


def _usual(case: Case) -> Iterator[Layout]:
    """Tensor parallelism, or attention on every card with the experts spread, over 1, 2, 4 or 8 cards."""
    shape = case.preset.architecture
    moe = isinstance(shape, DeepseekV2)
    heads = shape.heads if isinstance(shape, DeepseekV2) else shape.kv_heads
    for size in (1, 2, 4, 8):
        if size > min(case.cards, CARDS_PER_BOX):
            return
        if heads % size == 0:
            yield Layout(case.cards // size, tensor_parallel=size, expert_parallel=moe and size > 1)
        if moe and size > 1:
            yield Layout(case.cards // size, data_parallel=size, expert_parallel=True)
