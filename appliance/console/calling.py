"""What the copy-ready snippets name: this box's address as the reader sees it, and the models a tenant's keys may use."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace

from django.http import HttpRequest

from appliance.fleet.merged import merges
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, AdapterState, Alias
from appliance.tenants.models import Tenant

EXAMPLE_MODEL = "MODEL"
QUESTION = "Write a haiku about compilers."
KEY_VARIABLE = "$CODERACK_API_KEY"


def base_url(request: HttpRequest) -> str:
    """Where this reader's programs reach the API: the origin the page itself was asked at."""
    return request.build_absolute_uri("/v1")


@dataclass(frozen=True)
class CallableModel:
    """A model that a tenant's keys may use: a base, or an adapter of the tenant's own. `context` is in tokens."""

    name: str
    fim: bool
    adapter: bool
    context: int


def callable_models(tenant: Tenant) -> list[CallableModel]:
    """What this tenant's keys may use now, as the gateway decides it: bases by their name, then the tenant's adapters, then
    its aliases.
    """
    models = _models(tenant)
    by_name = {model.name: model for model in models}
    aliases = Alias.objects.filter(tenant=tenant, target__in=by_name).exclude(name__in=by_name)
    return models + [replace(by_name[alias.target], name=alias.name) for alias in aliases]


def _models(tenant: Tenant) -> list[CallableModel]:
    serving = {
        row.model_id: row
        for row in Deployment.objects.filter(running=True, serves=True).select_related("model").order_by("name")
    }
    adapters = Adapter.objects.filter(tenant=tenant, state=AdapterState.ACTIVE, base__in=serving).order_by("name")
    offered = [(row.name, row, False) for row in serving.values()]
    offered += [(adapter.name, serving[adapter.base_id], True) for adapter in adapters]
    allowed, most = tenant.plan.allowed_models, tenant.plan.max_context_tokens
    return [
        CallableModel(name, row.model.fim, is_adapter, min(row.max_model_len, most))
        for name, row, is_adapter in offered
        if allowed is None or not {name, row.name}.isdisjoint(allowed)
    ]


def to_chat_with(models: list[CallableModel]) -> str:
    """The model an example names: an instructed one before one that completes, where there is any."""
    ordered = sorted(models, key=lambda model: model.fim)
    return ordered[0].name if ordered else EXAMPLE_MODEL


def snippets(request: HttpRequest, tenant: Tenant, key: str = "") -> dict[str, str | list[str]]:
    """Everything the calling part of a page shows; with a key at hand, the curl line works as it is."""
    models = callable_models(tenant)
    url, model = base_url(request), to_chat_with(models)
    return {
        "base_url": url,
        "models": [found.name for found in models],
        "curl": curl_line(url, model, key or KEY_VARIABLE),
        "python": python_program(url, model),
    }


def curl_line(url: str, model: str, key: str) -> str:
    """A streamed request for a shell."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    return (
        f"curl -N {shlex.quote(url + '/chat/completions')} \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def python_program(url: str, model: str) -> str:
    """The same request with the official client."""
    return f"""\
import os
from openai import OpenAI

client = OpenAI(base_url={json.dumps(url)}, api_key=os.environ["CODERACK_API_KEY"])
stream = client.chat.completions.create(
    model={json.dumps(model, ensure_ascii=False)},
    messages=[{{"role": "user", "content": {json.dumps(QUESTION)}}}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)"""


def fine_tuning_program(request: HttpRequest, model: str = "") -> str:
    """Upload a file and begin a fine-tune with the official client."""
    return f"""\
import os
from openai import OpenAI

client = OpenAI(base_url={json.dumps(base_url(request))}, api_key=os.environ["CODERACK_API_KEY"])
file = client.files.create(file=open("train.jsonl", "rb"), purpose="fine-tune")
job = client.fine_tuning.jobs.create(
    model={json.dumps(model or EXAMPLE_MODEL, ensure_ascii=False)},
    training_file=file.id,
    suffix="my-style",
)
print(job.id)"""


def batch_program(request: HttpRequest, model: str = "") -> str:
    """Upload a file of requests and begin a batch with the official client."""
    line = {
        "custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": model or EXAMPLE_MODEL, "messages": [{"role": "user", "content": QUESTION}]},
    }  # fmt: skip
    return f"""\
import json
import os
from openai import OpenAI

client = OpenAI(base_url={json.dumps(base_url(request))}, api_key=os.environ["CODERACK_API_KEY"])
line = {json.dumps(line, ensure_ascii=False)}
file = client.files.create(file=("requests.jsonl", json.dumps(line).encode()), purpose="batch")
batch = client.batches.create(
    input_file_id=file.id,
    endpoint="/v1/chat/completions",
    completion_window="24h",
)
print(batch.id)"""


def upload_line(request: HttpRequest) -> str:
    """Upload a file from a shell."""
    return (
        f"curl {shlex.quote(base_url(request) + '/files')} \\\n"
        f'  -H "Authorization: Bearer {KEY_VARIABLE}" \\\n'
        "  -F purpose=fine-tune -F file=@train.jsonl"
    )


def tunable_model() -> str:
    """A model to name in an example: one that is served with adapters, "" where there is none."""
    served = Deployment.objects.filter(running=True, serves=True).select_related("model", "slot").order_by("name")
    return next((row.name for row in served if "--enable-lora" in row.flags or merges(row)), "")
