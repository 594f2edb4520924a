"""Does the adapter still write code as well as the base model? Pairs of solved and unsolved tasks tell.

It blocks on a shown regression only. A few tasks can't show that there is none, and the check says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetune.evaluate.check import Check, Verdict
from finetune.evaluate.significance import ALPHA, lower_bound, sign_test, upper_bound

NAME = "humaneval"
# A pass means: with 95 % confidence the adapter solves at most this share of tasks fewer than the base model.
TOLERATED_LOSS = 0.1


def decide(base: Sequence[bool], adapter: Sequence[bool]) -> Check:
    """Compare which tasks either model solved, in the same order."""
    pairs = list(zip(base, adapter, strict=True))
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    p_worse, loss = sign_test(lost, won), _largest_loss(lost, won, len(pairs))
    measured: dict[str, float] = {
        "tasks": len(pairs),
        "base_solved": sum(base),
        "adapter_solved": sum(adapter),
        "lost": lost,
        "won": won,
    }
    measured |= {"p_worse": p_worse, "loss_upper_bound": loss, "loss_tolerated": TOLERATED_LOSS}
    said = (
        f"of {len(pairs)} tasks the base model solved {sum(base)}, the adapter {sum(adapter)} ({lost} lost, {won} won)"
    )
    if p_worse < ALPHA:
        return Check(NAME, Verdict.FAIL, True, f"{said}: a regression (p {p_worse:.3f})", measured)
    if not any(base):
        reason = f"{said}: what the base model can't do can't get worse"
        return Check(NAME, Verdict.NOT_ENOUGH_EVIDENCE, True, reason, measured)
    if loss <= TOLERATED_LOSS:
        reason = f"{said}: a loss of more than {TOLERATED_LOSS:.0%} of the tasks is excluded"
        return Check(NAME, Verdict.PASS, True, reason, measured)
    reason = f"{said}: no regression shown, and a loss of up to {loss:.0%} of the tasks not excluded"
    return Check(NAME, Verdict.NOT_ENOUGH_EVIDENCE, True, reason, measured)


def _largest_loss(lost: int, won: int, tasks: int) -> float:
    """A conservative upper bound of the net share of tasks lost: the two bounds share the chance of error."""
    if not tasks:
        return 1.0
    return upper_bound(lost, tasks, ALPHA / 2) - lower_bound(won, tasks, ALPHA / 2)
