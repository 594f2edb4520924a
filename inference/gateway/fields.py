"""The three tables of request fields: forwarded to the engine, dropped (unknown ones too) and refused.

Only names are decided here, and what hides inside a message; values are checked in `admit`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inference.gateway import errors

_SAMPLING = {
    "model", "stream", "max_tokens", "n", "temperature", "top_p", "top_k", "min_p", "frequency_penalty",
    "presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "prompt_logprobs", "seed", "stop",
    "stop_token_ids", "include_stop_str_in_output", "ignore_eos", "min_tokens", "skip_special_tokens",
    "spaces_between_special_tokens", "truncate_prompt_tokens", "truncation_side", "bad_words", "allowed_token_ids",
    "response_format", "structured_outputs", "add_special_tokens", "echo", "return_token_ids",
    "return_tokens_as_token_ids", "repetition_detection", "thinking_token_budget",
}  # fmt: skip

FORWARDED: dict[str, frozenset[str]] = {
    "chat": frozenset(
        _SAMPLING
        | {
            "messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls",
            "reasoning_effort", "include_reasoning", "add_generation_prompt", "continue_final_message", "documents",
        }
    ),
    "completions": frozenset(_SAMPLING | {"prompt", "suffix"}),
}  # fmt: skip

DROPPED = frozenset(
    {
        "user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "verbosity", "prediction", "modalities", "web_search_options", "functions", "function_call", "best_of",
        "stream_options", "cache_salt", "priority", "request_id", "session_id", "length_penalty", "watermarking",
    }
)  # fmt: skip

REFUSED = frozenset(
    {
        "chat_template", "chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs", "mm_payload",
        "return_mm_kwargs", "kv_transfer_params", "ec_transfer_params", "prompt_embeds", "vllm_xargs", "audio",
        "logits_processors", "use_beam_search", "lora_request", "routed_experts_prompt_start", "logprob_token_ids",
        "return_prompt_text", "return_token_offsets", "data_parallel_rank", "guided_decoding_backend",
    }
)  # fmt: skip

STRUCTURED = frozenset(
    {
        "json", "regex", "choice", "grammar", "json_object", "structural_tag", "whitespace_pattern",
        "disable_any_whitespace", "disable_additional_properties",
    }
)  # fmt: skip
_PART_KEYS = frozenset({"type", "text", "refusal", "cache_control"})
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# An engine renders a chat in one go, and everybody else's streams wait for that.
MAX_MESSAGES = 4096
MAX_TOOL_CALLS = 128
MAX_PARTS = 16_384  # of all messages together


def sort_fields(body: dict[str, Any], endpoint: str) -> tuple[dict[str, Any], list[str]]:
    """The fields that go to the engine, and the names of those dropped ("unknown" for names of no table).

    Raises: ApiError 400 that names a refused field that is set.
    """
    forwarded = FORWARDED[endpoint]
    kept: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in body.items():
        if name in forwarded:
            kept[name] = value
        elif name in REFUSED:
            if value is not None and value is not False:
                raise errors.bad_field(name, f"The field {name} is not accepted.")
        else:
            dropped.append(name if name in DROPPED else "unknown")
    _check_structured(kept.get("structured_outputs"))
    return kept, dropped


def _check_structured(value: Any) -> None:
    if isinstance(value, dict):
        for name in value:
            if name not in STRUCTURED:
                raise errors.bad_field("structured_outputs", "structured_outputs holds a field that is not accepted.")


def check_messages(messages: Any) -> None:
    """A non-empty, bounded list of chat messages whose content is text: media never reaches an engine.

    Raises: ApiError 400 with param messages.
    """
    if not isinstance(messages, list) or not messages or len(messages) > MAX_MESSAGES:
        raise errors.bad_field("messages", f"messages must be a list of 1 to {MAX_MESSAGES} messages.")
    num_parts = 0
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in ROLES:
            raise errors.bad_field("messages", f"Each message must be an object with a role of {_named(ROLES)}.")
        content = message.get("content")
        if content is None and role != "assistant":
            raise errors.bad_field("messages", f"A message of role {role} must have a content.")
        num_parts += len(content) if isinstance(content, list) else 0
        if num_parts > MAX_PARTS:
            raise errors.bad_field("messages", f"messages may hold at most {MAX_PARTS} parts of content together.")
        _check_content(content)
        if message.get("tool_calls") is not None:
            _check_tool_calls(message["tool_calls"])


def _check_tool_calls(calls: Any) -> None:
    held = isinstance(calls, list) and len(calls) <= MAX_TOOL_CALLS and all(_is_call(call) for call in calls)
    if not held:
        raise errors.bad_field("messages", f"tool_calls must be a list of at most {MAX_TOOL_CALLS} calls of functions.")


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) and call.get("type", "function") == "function" else None
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str | dict | None)
    )


def _check_content(content: Any) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise errors.bad_field("messages", "A message's content must be a string, a list of text parts or null.")
    for part in content:
        if not (isinstance(part, str) or _is_text(part)):
            raise errors.bad_field("messages", "Only text parts are accepted in a message's content.")


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.get("type") in ("text", "refusal")
        and isinstance(part.get(part["type"]), str)
        and part.keys() <= _PART_KEYS
    )


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
