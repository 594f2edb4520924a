"""What is billed of a usage object, as the engine's counters have it."""

from __future__ import annotations

from inference.gateway.usage import Usage, read


def reported(prompt: int, completion: int) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": {"cached_tokens": 2}}


def test_a_prompt_counts_once_for_the_client_and_once_per_answer_at_the_engine() -> None:
    assert read(reported(7, 12), num_prompts=1, num_sequences=3, num_started=3) == Usage(7, 2, 12, 21, exact=True)
    assert read(reported(7, 12), num_prompts=1, num_sequences=3, num_started=2) == Usage(7, 2, 12, 14, exact=True)


def test_nothing_is_billed_before_the_first_token() -> None:
    assert read(reported(7, 0), num_prompts=1, num_sequences=1, num_started=0) == Usage(exact=True)


def test_an_answer_whose_tokens_have_no_text_yet_has_read_its_prompt() -> None:
    assert read(reported(7, 1), num_prompts=1, num_sequences=1, num_started=0) == Usage(7, 2, 1, 7, exact=True)


def test_which_of_several_answers_without_text_began_is_not_known() -> None:
    assert read(reported(7, 1), num_prompts=1, num_sequences=3, num_started=0) == Usage(7, 2, 1, 7, exact=False)
