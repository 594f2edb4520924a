"""Fill in the middle with a model of DeepSeek-V2's own architecture, served beside the demo model and withdrawn again."""

from __future__ import annotations

import time
from pathlib import Path

from appliance.fleet.models import EngineLife, Replica
from appliance.registry.models import EngineSlot
from ops.cli.demo.cast import FIM_MODEL, NORTH, SOUTH
from ops.cli.demo.tenancy import require_free_device, tokens_of
from ops.cli.demo.walk import Shown, StepFailed, Walk, expect, found, ledger, ms_since, refusal_of
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek

READY_S = 240.0
GONE_S = 60.0
PREFIX, SUFFIX = "def add(a, b):\n    ", "\n    return total\n"
# The released models' tokens, U+FF5C and U+2581: an editor's own template writes them into its prompt.
LITERAL = f"<\uff5cfim\u2581begin\uff5c>{PREFIX}<\uff5cfim\u2581hole\uff5c>{SUFFIX}<\uff5cfim\u2581end\uff5c>"


def serve_a_fim_model(walk: Walk) -> Shown:
    """A model is built, verified, registered and served through the command line."""
    require_free_device()
    slot = EngineSlot.objects.order_by("-created_at").first()
    if slot is None:
        raise StepFailed("there is no engine slot")
    begin = time.monotonic()
    path = ensure_tiny_deepseek(walk.env.cache_dir, Path(slot.path) / "bin" / "python")
    walk.cli("model", "add", str(path), "--name", FIM_MODEL, "--max-model-len", "2048", "--fim")
    walk.cli("model", "serve", FIM_MODEL, "--flag=--max-num-seqs=16")
    replica = found(_ready, READY_S, f"{FIM_MODEL} was not ready", 0.2)
    life = replica.life
    if life is None:
        raise StepFailed(f"{FIM_MODEL} is ready without an engine")
    measured = {"ready_after_ms": ms_since(begin), "device": ",".join(replica.devices)}
    return Shown(path.name, measured, {"model": FIM_MODEL, "life": str(life.pk)})


def _ready() -> Replica | None:
    row = Replica.objects.filter(deployment__model__name=FIM_MODEL).select_related("life").first()
    if row is not None and row.state == "failed":
        raise StepFailed(
            f"{FIM_MODEL} failed: {row.reason.splitlines()[0] if row.reason else 'no reason was recorded'}"
        )
    return row if row is not None and row.state == "ready" else None


def fill_in_the_middle(walk: Walk) -> Shown:
    """Prefix and suffix through DeepSeek's own path; the same prompt with literal tokens gives the same answer."""
    raw = walk.client(NORTH, "/beta").completions.with_raw_response.create(
        model=FIM_MODEL, prompt=PREFIX, suffix=SUFFIX, max_tokens=16, temperature=0
    )
    filled = raw.parse()
    literal_raw = walk.client(NORTH).completions.with_raw_response.create(
        model=FIM_MODEL, prompt=LITERAL, max_tokens=16, temperature=0
    )
    literal = literal_raw.parse()
    row = ledger(raw.headers["x-request-id"])
    other = ledger(literal_raw.headers["x-request-id"])
    if filled.choices[0].text != literal.choices[0].text or row.prompt_tokens != other.prompt_tokens:
        raise StepFailed(
            f"with suffix {row.prompt_tokens} input tokens and {filled.choices[0].text!r}, with literal tokens "
            f"{other.prompt_tokens} and {literal.choices[0].text!r}"
        )
    return Shown(
        PREFIX + SUFFIX, tokens_of(row) | {"same_with_literal_tokens": True},
        {"request": row.request_id, "literal_request": other.request_id},
    )  # fmt: skip


def refuse_a_suffix(walk: Walk) -> Shown:
    """A model that was not trained to fill in the middle says so."""
    refusal = refusal_of(
        lambda: walk.client(NORTH).completions.create(model=walk.model, prompt=PREFIX, suffix=SUFFIX, max_tokens=4)
    )
    expect(refusal, 400, None, "suffix")
    return Shown(PREFIX + SUFFIX, {"status": 400, "param": "suffix"}, {"request": refusal.request_id})


def keep_to_the_plans_models(walk: Walk) -> Shown:
    """A served model that a tenant's plan leaves out is refused to it."""
    refusal = refusal_of(lambda: walk.client(SOUTH).completions.create(model=FIM_MODEL, prompt=PREFIX, max_tokens=4))
    expect(refusal, 403, "model_not_allowed")
    return Shown(
        FIM_MODEL,
        {"status": 403, "code": refusal.code},
        {"request": refusal.request_id, "tenant": SOUTH, "model": FIM_MODEL},
    )


def withdraw_the_fim_model(walk: Walk) -> Shown:
    """Withdrawn, its engine ends and its device is free for a fine-tune."""
    lives = list(EngineLife.objects.filter(model_name=FIM_MODEL, ended_at=None).values_list("pk", flat=True))
    walk.cli("model", "withdraw", FIM_MODEL)
    begin = time.monotonic()
    found(_gone, GONE_S, f"the engine of {FIM_MODEL} did not end", 0.2)
    return Shown(
        FIM_MODEL, {"gone_after_ms": ms_since(begin)}, {"model": FIM_MODEL, "lives": [str(life) for life in lives]}
    )


def _gone() -> bool:
    held = Replica.objects.filter(deployment__model__name=FIM_MODEL).exclude(life=None).exists()
    return not held and not EngineLife.objects.filter(model_name=FIM_MODEL, ended_at=None).exists()
