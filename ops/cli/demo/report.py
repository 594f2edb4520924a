"""The walk's report: report.json after every step, so that a walk that is cut off leaves what it showed; at the end a page."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from appliance.login import write_private

FORMAT = 1
TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Done:
    """One step that showed what it should."""

    name: str
    title: str
    took_ms: int
    input_digest: str
    measured: dict[str, Any]
    evidence: dict[str, Any]


@dataclass
class Report:
    """What report.json holds. `verdict` is `running` until the walk is over."""

    folder: Path
    base_url: str
    verdict: str = "running"
    failure: dict[str, str] | None = None
    steps: list[Done] = field(default_factory=list)
    checker: list[str] = field(default_factory=list)
    started_at: float = field(default_factory=time.time)

    @property
    def path(self) -> Path:
        """Where report.json lies."""
        return self.folder / "report.json"

    def begin(self) -> None:
        """Replace the former walk's report."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "report.html").unlink(missing_ok=True)
        self.write()

    def add(self, step: Done) -> None:
        """Keep a step that is done."""
        self.steps.append(step)
        self.write()

    def end(self, verdict: str, failure: dict[str, str] | None = None) -> None:
        """Say how it ended, and make the page."""
        self.verdict, self.failure = verdict, failure
        self.write()
        page = self.folder / ".report.html.tmp"
        page.write_text(html(self.facts()), encoding="utf-8")
        page.rename(self.folder / "report.html")

    def write(self) -> None:
        """Write report.json, readable by its owner only."""
        write_private(self.path, self.facts())

    def facts(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "failure": self.failure,
            "started_at": self.started_at,
            "took_s": round(time.time() - self.started_at, 1),
            "base_url": self.base_url,
            "steps": [asdict(step) for step in self.steps],
            "checker": self.checker,
        }


def html(facts: dict[str, Any]) -> str:
    """The report as a page that needs nothing from outside; whatever models or tenants wrote is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["shown"] = _shown
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(facts)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
