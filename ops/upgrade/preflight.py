"""Can this upgrade be done here and now? Facts in, findings out, each with what to do. Gathering facts is the caller's.

Two ways: `beside` starts the new version's engines next to the old ones and nobody notices; `instead` ends the old ones first,
for machines without room for both, and the name answers 503 meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

GIB = 1 << 30
SPARE_BYTES = GIB // 4  # what a file system needs to go on working
BESIDE, INSTEAD = "beside", "instead"


class Verdict(StrEnum):
    """What a finding means for the upgrade."""

    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.name}: {self.found}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Offer:
    """The version that is to come. `copy_bytes` is what the disk still has to take, nothing where it is here already."""

    name: str
    digest: str
    max_model_len: int
    fim: bool
    preset: str = ""
    engine_flavour: str | None = None
    engine_version: str | None = None
    copy_bytes: int = 0


@dataclass(frozen=True)
class Served:
    """The version that serves the name now."""

    digest: str
    replicas: int
    ready: int
    devices_each: int
    max_model_len: int
    fim: bool
    engine_flavour: str
    engine_version: str


@dataclass(frozen=True)
class Machine:
    """The rest: devices, disk, the catalog, and who else is at work.

    `adapters`: name and tenant of those in use on the version served now.
    """

    devices: int
    healthy: int
    free: int
    leased: int
    models_dir: str
    free_bytes: int
    presets: frozenset[str]
    running_upgrade: str = ""
    verifiable: bool = True
    versions_running: int = 1
    open_jobs: int = 0
    jobs_on_base: int = 0
    adapters: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True)
class Allowed:
    """What the operator agreed to. `repair`: a rollback, for which the version served now needn't be well."""

    interrupt: bool = False
    without_adapters: bool = False
    repair: bool = False


def strategy(served: Served, machine: Machine) -> str:
    """Beside where free devices suffice, else instead."""
    return BESIDE if machine.free >= served.replicas * served.devices_each else INSTEAD


def machine_findings(machine: Machine) -> Iterator[Finding]:
    """What holds for every upgrade, and without one."""
    if machine.running_upgrade:
        yield Finding(
            "upgrades",
            Verdict.REFUSED,
            machine.running_upgrade,
            "wait for it, or `coderack upgrade resume` where it was interrupted",
        )
    else:
        yield Finding("upgrades", Verdict.OK, "none is running")
    yield _devices(machine)


def findings(offer: Offer, served: Served | None, machine: Machine, allowed: Allowed) -> list[Finding]:
    """Everything that speaks for or against this upgrade."""
    found = [*machine_findings(machine), _disk(offer, machine), _preset(offer, machine)]
    if served is None:
        told = f"{offer.name} is not served, so there is nothing to upgrade"
        remedy = "`coderack bundle import`, then `coderack model serve`, bring a new model"
        return [*found, Finding("served", Verdict.REFUSED, told, remedy)]
    found += [_engine(offer, served), _version(offer, served), _serving(offer, served, machine, allowed)]
    found += [_room(served, machine, allowed), *_abilities(offer, served), *_adapters(offer, machine, allowed)]
    if not machine.verifiable:
        told = (
            f"the plan of tenant system leaves {offer.name} out, so the upgrade could not be tried through the gateway"
        )
        found.append(
            Finding("plan", Verdict.REFUSED, told, "include the model in that plan, under Records in the console")
        )
    return found


def refusals(found: list[Finding]) -> list[str]:
    """The lines that forbid it."""
    return [finding.line for finding in found if finding.verdict is Verdict.REFUSED]


def _devices(machine: Machine) -> Finding:
    sick = machine.devices - machine.healthy
    told = f"{machine.devices} here, {sick} not healthy, {machine.leased} lent to fine-tunes, {machine.free} free"
    if sick:
        return Finding("devices", Verdict.WARNING, told, "the console's page Serving says what is wrong with them")
    return Finding("devices", Verdict.OK, told)


def _disk(offer: Offer, machine: Machine) -> Finding:
    needed = offer.copy_bytes + SPARE_BYTES
    has = f"{_gib(machine.free_bytes)} are free under {machine.models_dir}"
    if not offer.copy_bytes:
        return Finding("disk", Verdict.OK, f"the model is here already, {has}")
    told = f"the model needs {_gib(needed)}, {has}"
    if machine.free_bytes < needed:
        missing = _gib(needed - machine.free_bytes)
        return Finding(
            "disk", Verdict.REFUSED, told, f"make room for {missing} more: remove models that nothing serves"
        )
    return Finding("disk", Verdict.OK, told)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _preset(offer: Offer, machine: Machine) -> Finding:
    if offer.preset and offer.preset not in machine.presets:
        told = f"{offer.preset} is not in this appliance's catalog"
        return Finding("preset", Verdict.WARNING, told, "it serves, but no adapters can be trained on it")
    return Finding("preset", Verdict.OK, offer.preset or "the bundle names none")


def _engine(offer: Offer, served: Served) -> Finding:
    here = f"{served.engine_flavour} {served.engine_version}"
    wanted = f"{offer.engine_flavour or 'any'} {offer.engine_version or 'of any version'}"
    if offer.engine_flavour not in (None, served.engine_flavour):
        remedy = "ask for a bundle that was tried with this engine"
        return Finding("engine", Verdict.REFUSED, f"tried with {wanted}, here is {here}", remedy)
    if offer.engine_version not in (None, served.engine_version):
        return Finding("engine", Verdict.WARNING, f"tried with {wanted}, here is {here}", "the smoke test decides")
    return Finding("engine", Verdict.OK, f"{here}, tried with {wanted}")


def _version(offer: Offer, served: Served) -> Finding:
    told = f"{served.digest[:12]} is served, {offer.digest[:12]} is to come"
    if offer.digest == served.digest:
        return Finding("version", Verdict.REFUSED, f"{offer.digest[:12]} is served already", "there is nothing to do")
    return Finding("version", Verdict.OK, told)


def _serving(offer: Offer, served: Served, machine: Machine, allowed: Allowed) -> Finding:
    told = f"{offer.name}: {served.ready} of {served.replicas} replicas ready"
    if machine.versions_running > 1:
        told = f"{machine.versions_running} versions of {offer.name} run, left by an upgrade that failed half-way"
        remedy = "`coderack upgrade resume` takes it back, `coderack model serve` settles on one version"
        return Finding("served", Verdict.REFUSED, told, remedy)
    if served.ready < served.replicas or not served.replicas:
        if allowed.repair and served.replicas:
            return Finding("served", Verdict.WARNING, told)
        return Finding("served", Verdict.REFUSED, told, "bring it to order first: `coderack status` says what is wrong")
    return Finding("served", Verdict.OK, told)


def _room(served: Served, machine: Machine, allowed: Allowed) -> Finding:
    needed = served.replicas * served.devices_each
    told = (
        f"the new version needs {needed} devices ({served.replicas} replicas × {served.devices_each}) beside the old one, "
        f"{machine.free} of {machine.devices} are free"
    )
    if strategy(served, machine) == BESIDE:
        return Finding("room", Verdict.OK, told)
    missing = f"{needed - machine.free} are missing"
    if not allowed.interrupt:
        remedy = (
            "withdraw another model, wait for fine-tunes, or agree with --interrupt that the name answers 503 meanwhile"
        )
        return Finding("room", Verdict.REFUSED, f"{told}, {missing}", remedy)
    if machine.open_jobs:
        taken = f"{machine.open_jobs} fine-tunes would take the devices that the old version leaves"
        return Finding("room", Verdict.REFUSED, f"{told}, {missing}, and {taken}", "wait for them or cancel them")
    return Finding("room", Verdict.WARNING, f"{told}, {missing}", "the name answers 503 until the new version is ready")


def _abilities(offer: Offer, served: Served) -> Iterator[Finding]:
    context = f"{offer.max_model_len} tokens, now {served.max_model_len}"
    smaller = offer.max_model_len < served.max_model_len
    remedy = "longer requests will be refused" if smaller else ""
    yield Finding("context", Verdict.WARNING if smaller else Verdict.OK, context, remedy)
    if served.fim and not offer.fim:
        yield Finding("fim", Verdict.WARNING, "the new version does not fill in the middle", "a suffix will be refused")


def _adapters(offer: Offer, machine: Machine, allowed: Allowed) -> Iterator[Finding]:
    if not machine.adapters and not machine.jobs_on_base:
        yield Finding("adapters", Verdict.OK, f"none depends on the present version of {offer.name}")
        return
    names = ", ".join(f"{name} ({tenant})" for name, tenant in machine.adapters) or "none"
    told = f"{len(machine.adapters)} in use on the present version: {names}; {machine.jobs_on_base} fine-tunes on it"
    remedy = "they are not served, and those fine-tunes wait for their base, while another version is"
    if allowed.without_adapters:
        yield Finding("adapters", Verdict.WARNING, told, remedy)
    else:
        yield Finding(
            "adapters", Verdict.REFUSED, told, f"{remedy}: agree with --without-adapters, or train them anew first"
        )
