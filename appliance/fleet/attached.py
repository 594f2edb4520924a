"""Servers that operators attach and detach, each act with its entry in the audit log. The pool watches them.

A key is checked and kept before the row is there, and never stands in the row, the audit log or a message.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from appliance.audit.record import record
from appliance.fleet.deployments import version_to_serve
from appliance.fleet.errors import AttachmentRefused
from appliance.fleet.models import AttachedServer, Deployment
from appliance.registry.models import ModelVersion
from inference.attached.address import Address
from inference.attached.secrets import ATTACHED, Secrets
from inference.pool.attached_probe import Abilities
from inference.pool.attached_store import AttachedState

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True)
class Wanted:
    """What an operator wants attached, and how it is to be served."""

    name: str
    address: Address
    served_model: str
    max_model_len: int | None
    max_sequences: int | None
    priority: bool | None
    like: str
    tokenizer_dir: Path | None


@dataclass(frozen=True)
class Manner:
    """What the gateway needs to know of a model that it does not get from the server."""

    tokenizer_path: Path
    fim: bool


def secrets_dir() -> Path:
    """Where keys and CA files of attached servers are kept."""
    return Path(settings.ENV.data_dir) / ATTACHED


def check(wanted: Wanted) -> Manner:
    """What can be said before the server is asked.

    Raises: AttachmentRefused.
    """
    if not NAME.fullmatch(wanted.name):
        raise AttachmentRefused("a model's name has letters, digits and `._/-`, 200 characters at most")
    there = AttachedServer.objects.filter(url=str(wanted.address), served_model=wanted.served_model).first()
    if there is not None:
        doing = "is being detached" if there.state == AttachedState.DRAINING else "is attached already"
        raise AttachmentRefused(f"{there.url} with its model {there.served_model!r} {doing} ({there.pk})")
    return _manner(wanted)


def _manner(wanted: Wanted) -> Manner:
    """Without a tokenizer nobody could keep a chat's text from becoming control tokens, or count what a cut stream had."""
    if wanted.tokenizer_dir is not None:
        if not (wanted.tokenizer_dir / "tokenizer.json").is_file():
            raise AttachmentRefused(f"{wanted.tokenizer_dir} holds no tokenizer.json")
        return Manner(wanted.tokenizer_dir.resolve(), fim=False)
    version: ModelVersion | None = version_to_serve(wanted.like or wanted.name)
    if version is None:
        raise AttachmentRefused(
            f"no model {wanted.like or wanted.name!r} is registered, so that its tokenizer is not known: "
            "name a registered one with --like, or a directory with its tokenizer.json with --tokenizer-dir"
        )
    return Manner(Path(version.path), version.fim)


@transaction.atomic
def attach(wanted: Wanted, manner: Manner, abilities: Abilities, key: str | None, ca: str | None) -> AttachedServer:
    """Make it a replica; the pool looks at it within a second and lets requests in.

    Raises: AttachmentRefused.
    """
    context = wanted.max_model_len or abilities.context
    if context is None:
        raise AttachmentRefused("the server does not say how long its context is: give --max-model-len")
    served = Deployment.objects.filter(name=wanted.name, running=True, serves=True).first()
    if served is not None and context < served.max_model_len:
        raise AttachmentRefused(
            f"{wanted.name} is served with a context of {served.max_model_len} tokens, and this server has {context}"
        )
    check(wanted)
    row = AttachedServer(
        id=uuid.uuid4(), name=wanted.name, url=str(wanted.address), served_model=wanted.served_model, max_model_len=context,
        max_sequences=wanted.max_sequences, tokenizer_path=str(manner.tokenizer_path), fim=manner.fim,
        priority=abilities.priority if wanted.priority is None else wanted.priority,
        cache_salt=abilities.cache_salt, usage=abilities.usage, aborts=abilities.aborts,
    )  # fmt: skip
    secrets = Secrets(secrets_dir(), str(row.pk))
    secrets.write(key, ca)
    try:
        row.save(force_insert=True)
        record("engine.attach", row.name, details={"id": str(row.pk), "url": row.url, "served_model": row.served_model})
    except BaseException:
        secrets.remove()
        raise
    return row


def attached_as(what: str, url: str | None) -> QuerySet[AttachedServer]:
    """The servers that an id, or an address in its one form, means."""
    try:
        return AttachedServer.objects.filter(pk=uuid.UUID(what))
    except ValueError:
        return AttachedServer.objects.filter(url=url or what)


@transaction.atomic
def detach(rows: QuerySet[AttachedServer]) -> list[AttachedServer]:
    """No new requests from now on; the pool forgets them when those that run have ended."""
    changed = []
    for row in rows.select_for_update(of=("self",)).exclude(state=AttachedState.DRAINING):
        row.state, row.reason = AttachedState.DRAINING.value, ""
        row.save(update_fields=("state", "reason"))
        changed.append(row)
    for row in changed:
        record("engine.detach", row.name, details={"id": str(row.pk), "url": row.url})
    return changed
