"""A cleaning report as tables. Its keys are finetune.data's: known ones get words, unknown ones are shown as they are.

Everything in it may hold a tenant's text: it is passed on as text, and templates escape it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext, gettext_noop, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from appliance.console import figures

MOST_ROWS = 100
LABELS: dict[str, Any] = {
    "name": _("name"),
    "language": _("language"),
    "directory": _("directory"),
    "licence": _("licence"),
    "family": _("family"),
    "files": _("files"),
    "bytes": _("bytes"),
    "row": pgettext_lazy("sample", "row"),
    "rule": pgettext_lazy("sample", "rule"),
    "placeholder": _("placeholder"),
    "why": pgettext_lazy("sample", "why"),
    "text": pgettext_lazy("sample", "text"),
    "rows": _("Rows"),
    "read": _("read"),
    "in": pgettext_lazy("filter", "in"),
    "kept": pgettext_lazy("filter", "kept"),
    "dropped": pgettext_lazy("filter", "dropped"),
    "ignored_fields": _("fields ignored"),
    "languages": _("Languages"),
    "licences": _("Licences"),
    "licence_of_upload": _("Licence of the upload"),
    "licence_files_unread": _("Licence files beyond the bound"),
    "unwanted_licences": _("Licences left out"),
    "other_licences": _("Under another licence than the upload's own"),
    "skipped": _("Not read"),
    "filters": _("Filters"),
    "duplicates": _("Duplicates"),
    "exact_dropped": _("exact, dropped"),
    "near": _("near, found"),
    "near_dropped": _("near, dropped"),
    "near_threshold": _("near from a likeness of"),
    "clusters": _("Clusters of near-duplicates"),
    "alone": _("rows alone in theirs"),
    "largest": _("rows of the largest"),
    "order": _("Order of the rows"),
    "left_out_by_cleaning": _("Left out by cleaning"),
    "replacements": _("Replaced"),
    "distinct": _("different values"),
    "replaced_by_file": _("Replaced, by file"),
    "rules": _("rules"),
    "samples": _("Samples of what was replaced"),
    "residual": _("Residual samples: please read these"),
    "versions": _("Tools"),
}
FAMILIES: dict[str, Any] = {
    "public_domain": _("public domain"),
    "permissive": _("permissive"),
    "weak_copyleft": _("weak copyleft"),
    "strong_copyleft": _("strong copyleft"),
    "network_copyleft": _("network copyleft"),
    "source_available": _("source available"),
    "noncommercial": _("noncommercial"),
    "proprietary": _("proprietary"),
    "other": pgettext_lazy("licence", "other"),
    "none found": pgettext_lazy("licence", "none found"),
}
NOT_SHOWN = frozenset({"format", "filename", "kind", "limits"})  # the page says them elsewhere, or not at all


@dataclass(frozen=True)
class Section:
    """One part of the report: either name-value facts, or a table with columns."""

    title: Any
    facts: list[tuple[Any, str]] = field(default_factory=list)
    columns: list[Any] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    left_out: int = 0


# finetune.data's sentence, so that the catalogue has it.
KNOWN_LIMITS = gettext_noop(
    "No tool finds everything. What stays: names of people without an author tag before them or that no list knows, postal "
    "addresses, secrets without a known shape or a telling key beside them, passwords without digits that stand unquoted, "
    "unquoted keys of fewer than 12 characters or that look like a variable's name, passwords of several words unless "
    "quoted, assigned and with a digit, and secrets encoded more than the scanner can follow. Read the residual samples before "
    "agreeing to train."
)


def label(key: str) -> Any:
    """A key in words."""
    return LABELS.get(key, str(key).replace("_", " "))


def sections(report: Mapping[str, Any]) -> list[Section]:
    """The single values first, then one section for each list or object."""
    shown = {key: report[key] for key in in_order(report, LABELS) if key not in NOT_SHOWN}
    single = [(label(key), _known(key, value)) for key, value in shown.items() if not _is_large(value)]
    parts = [Section(_("In total"), facts=single)] if single else []
    return parts + [_section(label(key), value) for key, value in shown.items() if _is_large(value) and value]


def in_order(found: Iterable[str], known: Mapping[str, Any]) -> list[str]:
    """Keys in the order of `known`, the unknown ones behind: the database does not keep an object's order."""
    places = {key: place for place, key in enumerate(known)}
    return sorted(found, key=lambda key: (places.get(key, len(places)), key))


def limits(report: Mapping[str, Any]) -> str:
    """What the report says of its own limits."""
    said = report.get("limits")
    return gettext(said) if isinstance(said, str) and said else ""


def _is_large(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _section(title: Any, value: Any) -> Section:
    if isinstance(value, Mapping):
        return _of_mapping(title, value)
    if all(isinstance(row, Mapping) for row in value):
        return _table(title, value)
    return Section(title, columns=[title], rows=[[cell(entry)] for entry in value[:MOST_ROWS]], left_out=_left(value))


def _of_mapping(title: Any, value: Mapping[str, Any]) -> Section:
    if all(isinstance(inner, Mapping) for inner in value.values()):
        return _table(title, [{"name": key, **value[key]} for key in value])
    facts = [(label(key), cell(value[key])) for key in in_order(value, LABELS)[:MOST_ROWS]]
    return Section(title, facts=facts, left_out=_left(value))


def _table(title: Any, rows: Sequence[Mapping[str, Any]]) -> Section:
    keys = in_order({key for row in rows for key in row}, LABELS)
    shown = [[_known(key, row.get(key)) for key in keys] for row in rows[:MOST_ROWS]]
    return Section(title, columns=[label(key) for key in keys], rows=shown, left_out=_left(rows))


def _known(key: str, value: Any) -> str:
    """A cell; a licence's family in words."""
    known = key in ("family", "licence", "licence_of_upload") and isinstance(value, str)
    return str(FAMILIES.get(value, value)) if known and value else cell(value)


def _left(rows: Any) -> int:
    return max(0, len(rows) - MOST_ROWS)


def cell(value: Any) -> str:
    """One value as text."""
    if value is None or value == "":
        return figures.UNKNOWN
    if isinstance(value, bool):
        return str(_("yes")) if value else str(_("no"))
    if isinstance(value, int):
        return figures.count(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else _nested(value)


def _nested(value: Any) -> str:
    if isinstance(value, Mapping) and not any(_is_large(inner) for inner in value.values()):
        return ", ".join(f"{label(key)} {cell(inner)}" for key, inner in value.items()) or figures.UNKNOWN
    if isinstance(value, (list, tuple)) and not any(_is_large(inner) for inner in value):
        return ", ".join(cell(inner) for inner in value) or figures.UNKNOWN
    return json.dumps(value, ensure_ascii=False, indent=2)
