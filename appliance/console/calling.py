"""What the copy-ready snippets name: this box's address as the reader sees it, and the models a tenant's keys may use."""

from __future__ import annotations

import json
import shlex

from django.http import HttpRequest

from appliance.fleet.models import Deployment
from appliance.tenants.models import Tenant

EXAMPLE_MODEL = "MODEL"
QUESTION = "Write a haiku about compilers."
KEY_VARIABLE = "$CODERACK_API_KEY"


def base_url(request: HttpRequest) -> str:
    """Where this reader's programs reach the API: the origin the page itself was asked at."""
    return request.build_absolute_uri("/v1")


def model_names(tenant: Tenant) -> list[str]:
    """The models this tenant's keys may use now."""
    names = Deployment.objects.filter(running=True).order_by("model__name").values_list("model__name", flat=True)
    allowed = tenant.plan.allowed_models
    return [name for name in names if allowed is None or name in allowed]


def snippets(request: HttpRequest, tenant: Tenant, key: str = "") -> dict[str, str | list[str]]:
    """Everything the calling part of a page shows; with a key at hand, the curl line works as it is."""
    names = model_names(tenant)
    url, model = base_url(request), names[0] if names else EXAMPLE_MODEL
    return {
        "base_url": url,
        "models": names,
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


def upload_line(request: HttpRequest) -> str:
    """Upload a file from a shell."""
    return (
        f"curl {shlex.quote(base_url(request) + '/files')} \\\n"
        f'  -H "Authorization: Bearer {KEY_VARIABLE}" \\\n'
        "  -F purpose=fine-tune -F file=@train.jsonl"
    )


def tunable_model() -> str:
    """A model to name in an example: one that is served with adapters, "" where there is none."""
    found = Deployment.objects.filter(running=True, flags__contains=["--enable-lora"]).order_by("model__name")
    return found.values_list("model__name", flat=True).first() or ""
