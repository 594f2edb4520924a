"""One JSON object of an upload to one chat row, or to what is wrong with it, named by field. Values are never repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finetune.data.rows import ChatRow

# field of the question, field of the answer
PAIRS = (("instruction", "output"), ("question", "answer"), ("prompt", "completion"))
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
UNSUPPORTED = ("tools", "functions")
UNSUPPORTED_IN_MESSAGE = ("tool_calls", "function_call", "weight", "refusal", "audio")


def to_row(line: int, value: Any) -> ChatRow | list[str]:
    """A chat row, or all faults of the line (without the line number)."""
    if not isinstance(value, dict):
        return [f"the row must be a JSON object, not {_kind(value)}"]
    if "messages" in value:
        return _conversation(line, value)
    present = [pair for pair in PAIRS if pair[0] in value or pair[1] in value]
    if len(present) != 1:
        wanted = "messages, instruction and output, question and answer, or prompt and completion"
        found = "more than one of them" if present else "none of them"
        return [f"the row needs exactly one of: {wanted}; it has {found}"]
    return _pair(line, value, *present[0])


def _pair(line: int, value: dict[str, Any], asked: str, answered: str) -> ChatRow | list[str]:
    faults = [fault for field in (asked, answered) for fault in _text_faults(field, value, field)]
    if "input" in value and not isinstance(value["input"], str):
        faults.append(f"input must be a string, not {_kind(value['input'])}; leave it out when there is none")
    elif "input" in value:
        faults += _character_faults("input", value["input"])
    if faults:
        return faults
    extra = value.get("input", "")
    question = f"{value[asked]}\n\n{extra}" if extra.strip() else value[asked]
    used = {asked, answered, "input"}
    return ChatRow(line, (("user", question), ("assistant", value[answered])), len(value.keys() - used))


def _conversation(line: int, value: dict[str, Any]) -> ChatRow | list[str]:
    messages = value["messages"]
    faults = [f"{field} isn't supported: train on plain conversations" for field in UNSUPPORTED if value.get(field)]
    if not isinstance(messages, list):
        return [*faults, f"messages must be a list, not {_kind(messages)}"]
    for index, message in enumerate(messages):
        faults += _message_faults(f"messages[{index}]", message)
    if not faults:
        faults += _order_faults([ROLES[message["role"]] for message in messages])
    if faults:
        return faults
    turns = tuple((ROLES[message["role"]], message["content"]) for message in messages)
    return ChatRow(line, turns, len(value) - 1)


def _message_faults(field: str, message: Any) -> Iterator[str]:
    if not isinstance(message, dict):
        yield f"{field} must be an object with role and content, not {_kind(message)}"
        return
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        yield f"{field}.role must be one of {', '.join(ROLES)}"
    for name in UNSUPPORTED_IN_MESSAGE:
        if message.get(name) is not None:
            yield f"{field}.{name} isn't supported: leave it out"
    yield from _text_faults(f"{field}.content", message, "content")


def _order_faults(roles: list[str]) -> Iterator[str]:
    if "user" not in roles:
        yield "messages needs at least one message with role user"
    if not roles or roles[-1] != "assistant":
        yield "messages must end with a message of role assistant: it is what the model learns to say"
    if "system" in roles[1:]:
        yield "messages may have one message of role system (or developer), the first"


def _text_faults(field: str, value: dict[str, Any], key: str) -> Iterator[str]:
    if key not in value:
        yield f"{field} is missing"
    elif not isinstance(value[key], str):
        yield f"{field} must be a string, not {_kind(value[key])}"
    elif not value[key].strip():
        yield f"{field} is empty"
    else:
        yield from _character_faults(field, value[key])


def _character_faults(field: str, text: str) -> Iterator[str]:
    if any("\ud800" <= character <= "\udfff" for character in text):
        yield f"{field} holds half of a surrogate pair (\\ud800 to \\udfff): it isn't Unicode text"
    if "\x00" in text:
        yield f"{field} holds a NUL character: remove it"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
