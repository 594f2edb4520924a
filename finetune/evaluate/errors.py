"""What keeps an evaluation from being run. A check that ran and found something is a Check, not an error."""

from __future__ import annotations


class EvaluationError(Exception):
    """An evaluation can't be carried out. `permanent` says that trying again unchanged is pointless."""

    code = "evaluation_error"
    permanent = True


class SandboxMissing(EvaluationError):
    """Generated code has nowhere safe to run, so it is not run; the message says what to install or allow."""

    code = "sandbox_missing"


class SandboxBroken(EvaluationError):
    """A sandbox that worked a moment ago did not start."""

    code = "sandbox_broken"
    permanent = False


class SamplerFailed(EvaluationError):
    """The serving stack answered something else than what was asked for."""

    code = "sampler_failed"
    permanent = False


class TasksDamaged(EvaluationError):
    """A file of tasks can't be read as one; removing it and fetching it again helps."""

    code = "tasks_damaged"


class ScoresIncomplete(EvaluationError):
    """Log-probabilities do not cover a text's answer, or are no numbers. Checks turn this into a failed verdict."""

    code = "scores_incomplete"
