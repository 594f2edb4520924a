"""Set-up of editors' plug-ins that reads as it must be typed, with this box's address and a tenant's own model names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _

from appliance.console.calling import CallableModel, to_chat_with
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE

EXAMPLE_KEY = "sk-cr-…"


@dataclass(frozen=True)
class Setup:
    """How one program is told of this box. `where` says where the text goes."""

    id: str
    title: str
    where: Any
    text: str


def setups(url: str, models: list[CallableModel]) -> list[Setup]:
    """Continue, Cline and Tabby."""
    fim = next((model for model in models if model.fim), None)
    name = to_chat_with(models)
    context = next((model.context for model in models if model.name == name), 0)
    return [
        Setup("continue", "Continue", _("~/.continue/config.yaml"), continue_yaml(url, name, fim)),
        Setup("cline", "Cline", _("Settings → API Provider: OpenAI Compatible"), cline_fields(url, name, context)),
        Setup("tabby", "Tabby", _("~/.tabby/config.toml, then start Tabby again"), tabby_toml(url, name, fim)),
    ]


def _quoted(text: str) -> str:
    """A string that YAML and TOML both read."""
    return json.dumps(text, ensure_ascii=False)


def continue_yaml(url: str, chat: str, fim: CallableModel | None) -> str:
    """Continue: chat over the OpenAI protocol; completion over DeepSeek's, which fills in the middle."""
    text = f"""\
name: Coderack
version: 1.0.0
schema: v1
models:
  - name: {_quoted(chat)}
    provider: openai
    model: {_quoted(chat)}
    apiBase: {_quoted(url)}
    apiKey: {EXAMPLE_KEY}
    roles: [chat, edit, apply]"""
    if fim is None:
        return text
    return f"""{text}
  - name: {_quoted(f"{fim.name} (completion)")}
    provider: deepseek
    model: {_quoted(fim.name)}
    apiBase: {_quoted(origin(url) + "/")}
    apiKey: {EXAMPLE_KEY}
    roles: [autocomplete]"""


def cline_fields(url: str, chat: str, context: int) -> str:
    """Cline is told in a form."""
    fields = {"Base URL": url, "API Key": EXAMPLE_KEY, "Model ID": chat, "Context Window Size": context or ""}
    return "\n".join(f"{field}: {value}" for field, value in fields.items() if value)


def tabby_toml(url: str, chat: str, fim: CallableModel | None) -> str:
    """Tabby writes the middle's tokens itself."""
    text = f"""\
[model.chat.http]
kind = "openai/chat"
model_name = {_quoted(chat)}
api_endpoint = {_quoted(url)}
api_key = "{EXAMPLE_KEY}\""""
    if fim is None:
        return text
    return f"""{text}

[model.completion.http]
kind = "vllm/completion"
model_name = {_quoted(fim.name)}
api_endpoint = {_quoted(url)}
api_key = "{EXAMPLE_KEY}"
prompt_template = "{FIM_BEGIN}{{prefix}}{FIM_HOLE}{{suffix}}{FIM_END}\""""


def origin(url: str) -> str:
    """Where a base URL's server is."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
