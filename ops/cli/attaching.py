"""`coderack engine attach` and `detach`: servers that the pool did not start become replicas."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inference.attached import address, secrets
from inference.attached.address import Address
from inference.attached.errors import AttachedError, BadAddress, BadSecret
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done

if TYPE_CHECKING:
    from appliance.fleet.models import AttachedServer
    from inference.pool.attached_probe import Abilities


def attach(
    url: Annotated[str, typer.Argument(help="http://host:port, https://host:port or unix:/path.")],
    model: Annotated[str, typer.Option(help="The name that tenants use.")],
    api_key: Annotated[str, typer.Option(help="The server's key; other users of this machine may see it.")] = "",
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file with the server's key; - reads it from stdin.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="CAs for its certificate, in PEM. Default: the system's.")
    ] = None,
    engine_model: Annotated[str, typer.Option(help="The server's own name for the model. Default: the same.")] = "",
    max_model_len: Annotated[int | None, typer.Option(help="Tokens of context, where it does not say.", min=16)] = None,
    max_sequences: Annotated[
        int | None, typer.Option(help="Requests that it runs at once.", min=1, max=999_999)
    ] = None,
    priority: Annotated[
        bool | None, typer.Option(help="Whether it orders requests by priority. Default: tried.")
    ] = None,
    like: Annotated[
        str, typer.Option(help="A registered model with the same tokenizer. Default: the name's own.")
    ] = "",
    tokenizer_dir: Annotated[Path | None, typer.Option(help="A directory with the model's tokenizer.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a running vLLM, SGLang or MindIE server answer for a model."""
    if like and tokenizer_dir is not None:
        raise fail("give --like or --tokenizer-dir, not both", Exit.USAGE)
    try:
        place = address.parse(url)
        key = _key(api_key, api_key_file)
        ca = None if ca_file is None else secrets.checked_ca(ca_file)
    except AttachedError as error:
        raise fail(str(error), Exit.USAGE) from None
    with rows():
        from appliance.fleet import attached  # noqa: PLC0415 - after Django's setup
        from appliance.fleet.errors import AttachmentRefused  # noqa: PLC0415

        wanted = attached.Wanted(
            model, place, engine_model or model, max_model_len, max_sequences, priority, like, tokenizer_dir
        )
        try:
            manner = attached.check(wanted)
            row = attached.attach(wanted, manner, _tried(place, key, ca, wanted.served_model), key, ca)
        except AttachmentRefused as error:
            raise fail(str(error)) from None
        except OSError as error:
            raise fail(f"its key or CA file can't be kept: {error.strerror}") from None
    facts = facts_of(row)
    show_done(facts, as_json, _line(facts))


def detach(
    server: Annotated[str, typer.Argument(help="The address it was attached with, or its id.")], as_json: AsJson = False
) -> None:
    """Send a server nothing more; what runs there ends, then it is forgotten."""
    try:
        url: str | None = str(address.parse(server))
    except BadAddress:
        url = None
    with rows():
        from appliance.fleet import attached  # noqa: PLC0415

        found = attached.attached_as(server, url)
        if not found.exists():
            raise fail(f"{server!r} is not attached; `coderack engine list --attached` shows what is", Exit.NOT_FOUND)
        attached.detach(found)
        facts = [facts_of(row) for row in found]
    show_done(
        {"detached": facts}, as_json, f"{server}: no new requests; it is gone from the list when those running end"
    )


def facts_of(row: AttachedServer) -> dict[str, Any]:
    """A server's row for scripts; what its key is stands nowhere."""
    return {
        "id": str(row.pk), "name": row.name, "url": row.url, "engine_model": row.served_model, "state": row.state,
        "reason": row.reason or None, "since": f"{row.state_since:%Y-%m-%d %H:%M:%S}Z", "context": row.max_model_len,
        "max_sequences": row.max_sequences, "fim": row.fim, "priority": row.priority, "cache_salt": row.cache_salt,
        "usage": row.usage, "aborts": row.aborts,
    }  # fmt: skip


def _key(value: str, path: Path | None) -> str | None:
    if value and path is not None:
        raise BadSecret("give --api-key or --api-key-file, not both")
    if path is None:
        return secrets.checked_key(value) if value else None
    try:
        text = (
            typer.get_text_stream("stdin").read(8192) if str(path) == "-" else path.read_text(encoding="utf-8")[:8192]
        )
    except (OSError, UnicodeDecodeError) as error:
        raise BadSecret(f"{path} can't be read: {type(error).__name__}") from None
    return secrets.checked_key(text)


def _tried(place: Address, key: str | None, ca: str | None, model: str) -> Abilities:
    from inference.engines import engine_kind  # noqa: PLC0415
    from inference.pool.attached_client import AttachedClient  # noqa: PLC0415
    from inference.pool.attached_probe import try_out  # noqa: PLC0415
    from inference.pool.errors import EngineUnreachable  # noqa: PLC0415

    tls = ssl.create_default_context(cadata=ca) if place.tls else None
    try:
        return try_out(AttachedClient(place, key, tls, model), engine_kind("vllm"), model)
    except (EngineUnreachable, AttachedError) as error:
        raise fail(f"{place}: {error}") from None


def _line(facts: dict[str, Any]) -> str:
    takes = [word for word in ("priority", "cache_salt", "usage", "aborts") if facts[word]]
    lacks = [word for word in ("priority", "cache_salt", "usage", "aborts") if not facts[word]]
    told = f"{facts['name']}: {facts['url']} attached, {facts['context']} tokens of context; it can: {', '.join(takes) or '–'}"
    told += f"; not: {', '.join(lacks)}" if lacks else ""
    return f"{told}\n`coderack status` shows it come up"
