"""The documentation against the code: what exists is described, what is linked exists, and pages need nothing from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from django.urls import URLPattern, URLResolver

from appliance import env
from inference.catalog.flags import flags_for
from inference.catalog.load import catalog
from inference.gateway import body, errors, fields, paths, values
from inference.pool.states import ReplicaState
from ops.cli.main import app
from ops.cli.printing import Exit
from tests.django_apps import set_up_django
from tests.figures import figures

REPO = Path(__file__).resolve().parent.parent
DOCS = REPO / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DEPLOYED = [path for path in REPO.glob("deploy/*/**/*") if path.is_file()]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Put together here, so that this file is not the first to hold them.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in [
        ("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org"), ("huggingface", "co"), ("modelscope", "cn"),
        ("npmjs", "org"), ("docker", "io"), ("ghcr", "io"), ("tuna", "tsinghua"), ("aliyun", "com/pypi"), ("unpkg", "com"),
        ("jsdelivr", "net"), ("googleapis", "com"),
    ]
)  # fmt: skip


def read(name: str) -> str:
    return (DOCS / name).read_text()


def row_of(text: str, first_cell: str) -> str:
    """The table row that begins with this cell."""
    rows = [
        line for line in text.splitlines() if line.startswith(f"| {first_cell} |") or f"| {first_cell}," in line[:40]
    ]
    assert rows, f"no row begins with {first_cell}"
    return rows[0]


@pytest.mark.parametrize("variable", env.VARIABLES, ids=lambda v: v.name)
def test_every_variable_is_described_with_its_default(variable: env.Variable) -> None:
    row = row_of(read("configuration.md"), f"`{variable.name}`")
    assert row.count("|") == 5, "name, default, meaning, example"
    if variable.default is not None and not variable.default.startswith("/"):
        assert f"`{variable.default}`" in row
    if variable.secret:
        assert f"`{variable.name}_FILE`" in row


def test_no_variable_is_described_that_does_not_exist() -> None:
    known = {v.name for v in env.VARIABLES} | {f"{v.name}_FILE" for v in env.VARIABLES if v.secret}
    for page in [*PAGES, REPO / "README.md", *DEPLOYED]:
        named = set(re.findall(r"\bCODERACK_[A-Z_]+\b", page.read_text(errors="replace")))
        assert named <= known | {"CODERACK_API_KEY"}, page.name


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def cli_sections() -> dict[str, str]:
    parts = re.split(r"^## (coderack .+)$", read("cli.md"), flags=re.MULTILINE)
    return {name: body.split("\n## ")[0] for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_command_and_option_is_described_and_no_other() -> None:
    existing = dict(commands(typer.main.get_command(app), "coderack"))
    sections = cli_sections()
    assert set(sections) == set(existing)
    for name, command in existing.items():
        options = {max(p.opts, key=len) for p in command.params if p.param_type_name == "option"}
        described = set(re.findall(r"^\| `(--[a-z-]+)", sections[name], flags=re.MULTILINE))
        assert described == options, name


def test_every_exit_code_is_described() -> None:
    text = read("cli.md")
    for code in Exit:
        assert f"| {code.value} | `{code.name}` |" in text


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver) and not route.startswith("/admin/"):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


@pytest.fixture
def urlpatterns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[URLPattern | URLResolver]:
    set_up_django(monkeypatch, tmp_path)
    from appliance.urls import urlpatterns

    return urlpatterns


def test_every_console_address_is_described(urlpatterns: list[URLPattern | URLResolver]) -> None:
    text = read("console.md")
    pages = [pattern for pattern in urlpatterns if not getattr(pattern.callback, "answers_json", False)]
    missing = [route for route in routes(pages) if f"`{route}`" not in text]
    assert not missing


def test_every_route_of_the_tenant_api_is_described_and_no_other(urlpatterns: list[URLPattern | URLResolver]) -> None:
    from appliance.api.app import api
    from appliance.api.urls import OPENAPI

    text = read("api.md")
    paths = api.get_openapi_schema(path_prefix="/v1/")["paths"]
    existing = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(re.findall(r"^\| `([A-Z]+ /[^`]+)` \|", text, flags=re.MULTILINE)) == existing
    assert f"| `/v1/{OPENAPI}` |" in text


def test_every_field_and_error_code_of_the_tenant_api_is_described(urlpatterns: list[URLPattern | URLResolver]) -> None:
    from appliance.api.errors import STATUSES, TABLE
    from appliance.api.v1.fine_tuning_shapes import JobRequest
    from finetune.job import JobStatus

    text = read("api.md")
    named = {*STATUSES, *(row.code for row in TABLE.values() if row.code), *JobStatus, *JobRequest.model_fields}
    assert not [name for name in sorted(named) if f"`{name}`" not in text]


def test_every_gateway_path_is_described() -> None:
    text = read("api.md")
    missing = [path.decode() for path in paths._EXACT if f"`{path.decode()}`" not in text]
    missing += [path.decode() for path in paths._PROCESS_PAGES if f"`{path.decode()}`" not in read("monitoring.md")]
    missing += [p.decode() for p in paths._MODEL_PREFIXES if f"`{p.decode()}{{id}}`" not in text]
    assert not missing


def test_every_request_field_is_described() -> None:
    text = read("api.md")
    names = set().union(*fields.FORWARDED.values()) | fields.DROPPED | fields.REFUSED
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_every_bound_of_a_field_is_described() -> None:
    text = read("api.md").split("| Field | Bounds |")[1].split("\n\n")[0]
    bounded = {
        *values.NUMBERS,
        *values.OF_CHAT,
        *values.OF_COMPLETIONS,
        *values.LISTS,
        *values.GRAMMARS,
        "stop",
        "logit_bias",
    }
    assert not [name for name in sorted(bounded) if f"`{name}`" not in text]
    for limit in (values.MAX_STOP, values.MAX_LOGIT_BIAS, fields.MAX_MESSAGES, body.MAX_PROMPTS, body.MAX_NESTING):
        assert f" {limit}" in text


def test_every_error_code_is_described() -> None:
    text = read("api.md")
    made = [
        errors.malformed(""), errors.context_too_long(1, "1", 0, "prompt"), errors.invalid_key(), errors.model_not_allowed(),
        errors.model_not_found(), errors.not_found(), errors.wrong_method("GET"), errors.too_large(1), errors.overloaded(),
        errors.engine_failed(), errors.engine_lost(), errors.draining(), errors.timed_out(), errors.internal(),
        errors.address_too_long(), errors.expectation_failed(), errors.head_too_large("header"),
    ]  # fmt: skip
    for error in made:
        code = f"`{error.code}`" if error.code else "null"
        assert f"| {error.status} | {code} |" in text


def test_every_metric_is_described_and_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up_django(monkeypatch, tmp_path)
    text = read("monitoring.md")
    existing = {name: ", ".join(labels) or "–" for name, labels in figures().items()}
    assert dict(re.findall(r"^\| `(coderack_[a-z_]+)` \| ([a-z, –]+) \|", text, flags=re.MULTILINE)) == existing


def test_every_alert_and_recorded_figure_is_described_and_no_other() -> None:
    text = read("monitoring.md")
    groups = [
        g for path in REPO.glob("deploy/prometheus/rules/*.yml") for g in yaml.safe_load(path.read_text())["groups"]
    ]
    rules = [rule for group in groups for rule in group["rules"]]
    sections = text.split("\n## Alerts\n")[1]
    assert set(re.findall(r"^### (\w+)$", sections, flags=re.MULTILINE)) == {r["alert"] for r in rules if "alert" in r}
    assert set(re.findall(r"`(coderack:[^`]+)`", text)) == {rule["record"] for rule in rules if "record" in rule}


def test_every_replica_state_is_described() -> None:
    text = read("architecture.md")
    assert not [state for state in ReplicaState if f"| {state.value} |" not in text]


def test_every_preset_and_its_flags_are_described() -> None:
    text = read("models.md")
    for preset in catalog().values():
        section = text.split(f"### {preset.name}\n")[1].split("\n## ")[0].split("\n### ")[0]
        for profile in preset.profiles:
            name = profile.hardware[0] + (f":{profile.variant}" if profile.variant else "")
            assert f"| {', '.join(profile.hardware)} |" in section
            assert f"| {profile.max_model_len} | `{' '.join(flags_for(preset, name))}` |" in section


def test_every_folder_of_the_sources_is_in_the_readme() -> None:
    text = (REPO / "README.md").read_text()
    inner = [
        f"{p.parent.relative_to(REPO)}/" for top in ("inference", "ops") for p in REPO.glob(f"{top}/*/__init__.py")
    ]
    assert not [
        name for name in [*inner, "appliance/", "finetune/", "deploy/", "docs/", "tests/"] if f"`{name}`" not in text
    ]


def nav_pages(entries: list[object]) -> Iterator[str]:
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(value, list):
            yield from nav_pages(value)
        else:
            yield str(value)


def test_the_navigation_has_every_page_once() -> None:
    listed = list(nav_pages(yaml.safe_load((REPO / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.mark.parametrize("page", [REPO / "README.md", *PAGES], ids=lambda p: str(p.relative_to(REPO)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        assert "://" not in link, "pages are read without a network"
        file = page.parent / target if target else page
        assert file.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, link


class Addresses(HTMLParser):
    """Collects what a browser would fetch by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """html.parser: a tag."""
        if tag != "a":
            self.fetched += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_documentation_builds_without_warnings_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    told = subprocess.run(
        command, cwd=REPO, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
    built = list((tmp_path / "site").rglob("*.html"))
    assert len(built) > len(PAGES)
    for page in built:
        parser = Addresses()
        parser.feed(page.read_text())
        assert not [address for address in parser.fetched if "//" in address], page.name


def test_no_tracked_file_names_a_package_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPO,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        path = REPO / name
        if name and path.is_file():
            text = path.read_bytes()
            assert not [host for host in REGISTRY_HOSTS if host.encode() in text], name
