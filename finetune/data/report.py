"""What happened to an upload, in numbers and cleaned excerpts: the content of report.json and the page for people."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, StrictUndefined
from pybetterleaks import betterleaks_version

from finetune.data import filters
from finetune.data.desensitize.censor import censor
from finetune.data.desensitize.placeholders import Placeholders
from finetune.data.duplicates import NEAR_THRESHOLD
from finetune.data.report_page import PAGE
from finetune.data.survey import Survey
from finetune.data.writing import Written

FORMAT = 1
TOOLS = ("pybetterleaks", "datasketch", "phonenumbers", "python-stdnum", "pygments")
LIMITS = (
    "No tool finds everything. What stays: names of people without an author tag before them or that no list knows, postal "
    "addresses, secrets without a known shape or a telling key beside them, passwords without digits that stand unquoted, "
    "unquoted keys of fewer than 12 characters or that look like a variable's name, passwords of several words unless "
    "quoted, assigned and with a digit, and secrets encoded more than the scanner can follow. Read the residual samples before "
    "agreeing to train."
)


def content(
    filename: str,
    kind: str,
    found: Survey,
    written: Written,
    clusters: Mapping[str, int],
    names: Placeholders,
) -> dict[str, Any]:
    """The report. It holds cleaned text only. `clusters` are the counts of the rows that were written."""
    return {
        "format": FORMAT,
        "filename": censor(filename[:200]),
        "kind": kind,
        "rows": {"read": len(found.kept), "kept": clusters["rows"], "ignored_fields": found.num_ignored_fields},
        **(found.tally.report() if kind == "text" else {}),
        "skipped": dict(sorted(found.skipped.items())),
        "filters": filters.counts(len(found.kept), found.dropped) if kind == "text" else {},
        "duplicates": {
            "exact_dropped": found.num_exact,
            "near": found.num_near,
            "near_dropped": found.num_near if kind == "text" else 0,
            "near_threshold": NEAR_THRESHOLD,
        },
        "order": "imports" if written.ordered else "upload",
        "clusters": {name: count for name, count in clusters.items() if name != "rows"},
        "left_out_by_cleaning": dict(sorted(written.left_out.items())),
        "replacements": names.by_rule(),
        "replaced_by_file": written.by_file.content(),
        "samples": written.samples.replaced,
        "residual": written.samples.residual(),
        "limits": LIMITS,
        "versions": {**{tool: version(tool) for tool in TOOLS}, "betterleaks": betterleaks_version()},
    }


def page(report: dict[str, Any]) -> str:
    """The report as one HTML page without scripts; everything in it is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(PAGE).render(report=report)
