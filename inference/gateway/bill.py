"""What a stream is billed: the engine's own figures where they came, else a lower bound of what was seen of it."""

from __future__ import annotations

from inference.gateway import usage
from inference.gateway.admit import Admitted
from inference.gateway.sse import EventStream
from inference.gateway.tokens import TokenCounter
from inference.gateway.usage import Usage


def of_stream(admitted: Admitted, events: EventStream, *, cut: bool) -> Usage:
    """Usage of a stream; `cut` says that it did not run to its natural end."""
    if events.reported is not None:
        many = admitted.num_sequences > 1
        started = len(events.started) if cut and many else admitted.num_sequences
        return usage.read(events.reported, admitted.num_prompts, admitted.num_sequences, started)
    # An event has at least one token; the events that only tell a chat's role have none.
    roles = admitted.body.get("n") or 1 if admitted.endpoint == "chat" else 0
    return Usage(completion_tokens=max(events.num_events - roles, 0))


async def with_prompt(admitted: Admitted, used: Usage, counter: TokenCounter) -> Usage:
    """A lower bound with the prompt in it: a token came, so the prompt was read, and it has at least its own text."""
    # Of several prompts nobody can say which ones were read.
    prompt = await counter.whole_prompt(admitted.model.path, admitted.body) if admitted.num_prompts == 1 else 0
    return Usage(prompt, 0, used.completion_tokens, prompt, exact=False)
