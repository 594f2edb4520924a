"""Does the adapter predict rows it was not trained on better than the base model does?"""

from __future__ import annotations

from collections.abc import Sequence

from finetune.evaluate.check import Check, Verdict
from finetune.evaluate.errors import ScoresIncomplete
from finetune.evaluate.scored import Logprobs, Scored, losses
from finetune.evaluate.significance import ALPHA, sign_flip_test

NAME = "heldout"
# The fewest rows whose signs alone can be that lopsided by chance in under 5 % of cases: 1/2^5.
MIN_ROWS = 5


def decide(rows: Sequence[Scored], base: Sequence[Logprobs], adapter: Sequence[Logprobs]) -> Check:
    """Compare served losses row by row; a verdict needs a difference that chance does not explain."""
    try:
        pairs = losses(rows, base, adapter)
    except ScoresIncomplete as error:
        return Check(NAME, Verdict.FAIL, True, f"the scores can't be compared: {error}")
    if not pairs:
        return Check(NAME, Verdict.NOT_ENOUGH_EVIDENCE, True, "no validation rows", {"rows": 0})
    before, after = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    gains = [one - other for one, other in pairs]
    better, worse = sign_flip_test(gains), sign_flip_test([-gain for gain in gains])
    measured = {"rows": len(pairs), "base_loss": before, "adapter_loss": after, "p_better": better, "p_worse": worse}
    said = f"loss {before:.3f} with the base model, {after:.3f} with the adapter, over {len(pairs)} validation rows"
    if len(pairs) < MIN_ROWS:
        reason = f"{said}: too few rows, {MIN_ROWS} are needed"
        return Check(NAME, Verdict.NOT_ENOUGH_EVIDENCE, True, reason, measured)
    if better < ALPHA:
        return Check(NAME, Verdict.PASS, True, f"{said} (p {better:.3f})", measured)
    if worse < ALPHA:
        return Check(NAME, Verdict.FAIL, True, f"{said}: worse (p {worse:.3f})", measured)
    reason = f"{said}: chance explains the difference (p {min(better, worse):.2f})"
    return Check(NAME, Verdict.NOT_ENOUGH_EVIDENCE, True, reason, measured)
