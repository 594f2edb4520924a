"""An erasure's certificate: a canonical JSON payload, and a page that shows it to people.

Signing and publishing it are as with an acceptance's: `ops.acceptance` has the key, the folder and the check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

FORMAT = 1
KIND = "coderack-erasure"
TEMPLATE = Path(__file__).with_name("certificate.html")
NONE = "–"
CLOCK = "times of day by this machine's clock, UTC, held against no other"
KEPT = (
    ("the ledger's rows", "usage is billed by them; they hold counts of tokens and names of models, no texts"),
    ("the audit log", "it is append-only; it holds the names of people, files and adapters, and digests"),
    ("rows of the file, the fine-tunes and the adapters, without content", "ids, digests, states and counts of tokens, so that "
     "bills and the audit log can be understood"),
    ("backups made before", "the appliance does not know where they are: whoever keeps them deletes them"),
    ("conversations that the tenant had kept, and results of batches", "they are no part of the training; each is erased "
     "where it is kept"),
)  # fmt: skip
MAY_LINGER = (
    "Blocks of the disk or of the file system's snapshots, until they are written over: files were removed, not overwritten.",
    "A file that a process had open while it was removed, until that process closes it: a download, a gateway's worker.",
    "What somebody downloaded or copied out of the appliance before.",
    "Lines of process logs that name the file, the fine-tune or the adapter, until the logs are rotated.",
)
NOT_SAID = (
    "That weights trained on other files hold nothing alike: other uploads may have had the same content.",
    "The signature says which box signed. That the box was honest, and its clock right, it can't say.",
)


@dataclass(frozen=True)
class Erased:
    """Everything a certificate says. Times are ISO 8601, UTC; paths are relative to the data directory."""

    id: str
    tenant: str
    file: Mapping[str, Any]  # id, filename, sha256, bytes
    by: str
    asked_at: str
    finished_at: str
    led_to: Sequence[Mapping[str, Any]]  # kind, name, act, digest, state, why
    removed: Sequence[Mapping[str, Any]]  # kind, name, path, digest, bytes, files
    lingering: Sequence[str] = ()  # engines that had not unloaded yet


def payload(erased: Erased) -> dict[str, Any]:
    """What certificate.json holds."""
    facts = asdict(erased)
    return {
        "format": FORMAT,
        "kind": KIND,
        "clock": CLOCK,
        **facts,
        "counts": counts(facts["removed"]),
        "kept": [{"what": what, "why": why} for what, why in (*KEPT, *_kept_here(facts["led_to"]))],
        "may_linger": [*facts["lingering"], *MAY_LINGER],
        "not_said": list(NOT_SAID),
    }


def counts(removed: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many of each kind were removed."""
    return dict(sorted(Counter(str(row["kind"]) for row in removed).items()))


def _kept_here(led_to: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for item in led_to:
        if item["act"] == "keep":
            yield f"{item['kind']} {item['name']}", str(item["why"])


def faults(facts: Mapping[str, Any]) -> Iterator[str]:
    """What in a payload does not follow from its own lists."""
    if counts(facts["removed"]) != facts["counts"]:
        yield "counts do not follow from what was removed"
    if any(not row["digest"] or not row["path"] for row in facts["removed"]):
        yield "something was removed without a digest or a path"


def page_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Every figure that the page must show, by name."""
    found = {name: facts[name] for name in ("id", "tenant", "by", "asked_at", "finished_at")}
    found |= {f"file.{name}": value for name, value in facts["file"].items()}
    for part, names in (("led_to", ("name", "digest", "act")), ("removed", ("path", "digest", "files", "bytes"))):
        for index, row in enumerate(facts[part]):
            found |= {f"{part}.{index}.{name}": row[name] for name in names}
    return {name: str(value) if value not in (None, "") else NONE for name, value in found.items()}


def page(facts: Mapping[str, Any]) -> bytes:
    """The certificate for people: one file that needs nothing else, on screen and on paper."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(facts, figures=page_facts(facts), none=NONE).encode()
