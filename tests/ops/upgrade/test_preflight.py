"""What preflight decides, over plain facts: each refusal names numbers and a way out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.upgrade.preflight import (
    BESIDE,
    GIB,
    INSTEAD,
    Allowed,
    Finding,
    Machine,
    Offer,
    Served,
    Verdict,
    findings,
    machine_findings,
    refusals,
    strategy,
)

OFFER = Offer("coder", "b" * 64, 4096, True, "small", "cuda", "0.32.0", 10 * GIB)
SERVED = Served("a" * 64, 2, 2, 4, 4096, True, "cuda", "0.32.0")
MACHINE = Machine(16, 16, 8, 0, "/models", 100 * GIB, frozenset({"small"}))
NOTHING = Allowed()


def finding(name: str, found: list[Finding]) -> Finding:
    return next(f for f in found if f.name == name)


def look(
    offer: Offer = OFFER, served: Served | None = SERVED, machine: Machine = MACHINE, allowed: Allowed = NOTHING
) -> list[Finding]:
    return findings(offer, served, machine, allowed)


def test_nothing_speaks_against_a_healthy_upgrade() -> None:
    assert {f.verdict for f in look()} == {Verdict.OK}


def test_a_disk_that_is_too_small_is_refused_in_gib() -> None:
    found = finding("disk", look(machine=replace(MACHINE, free_bytes=4 * GIB)))
    assert found.verdict is Verdict.REFUSED
    assert "needs 10.2 GiB, 4.0 GiB are free under /models" in found.line
    assert "room for 6.2 GiB more" in found.line


def test_a_model_that_is_here_already_needs_no_room() -> None:
    found = look(replace(OFFER, copy_bytes=0), machine=replace(MACHINE, free_bytes=0))
    assert finding("disk", found).verdict is Verdict.OK


@pytest.mark.parametrize(("free", "expected"), [(8, BESIDE), (9, BESIDE), (7, INSTEAD), (0, INSTEAD)])
def test_beside_where_devices_for_all_replicas_are_free(free: int, expected: str) -> None:
    assert strategy(SERVED, replace(MACHINE, free=free)) == expected


def test_instead_is_refused_in_numbers_until_it_is_agreed_on() -> None:
    machine = replace(MACHINE, free=3)
    refused = finding("room", look(machine=machine))
    assert refused.verdict is Verdict.REFUSED
    for part in ("8 devices (2 replicas × 4)", "3 of 16 are free", "5 are missing", "--interrupt"):
        assert part in refused.line
    assert finding("room", look(machine=machine, allowed=Allowed(interrupt=True))).verdict is Verdict.WARNING
    busy = replace(machine, open_jobs=2)
    assert "2 fine-tunes would take" in finding("room", look(machine=busy, allowed=Allowed(interrupt=True))).line


@pytest.mark.parametrize(
    ("change", "name", "verdict"),
    [
        ({"engine_flavour": "ascend"}, "engine", Verdict.REFUSED),
        ({"engine_version": "0.31.0"}, "engine", Verdict.WARNING),
        ({"engine_flavour": None, "engine_version": None}, "engine", Verdict.OK),
        ({"preset": "unheard-of"}, "preset", Verdict.WARNING),
        ({"max_model_len": 2048}, "context", Verdict.WARNING),
        ({"max_model_len": 8192}, "context", Verdict.OK),
        ({"fim": False}, "fim", Verdict.WARNING),
        ({"digest": "a" * 64}, "version", Verdict.REFUSED),
    ],
)
def test_what_the_bundle_says_is_compared_with_what_is_here(
    change: dict[str, object], name: str, verdict: Verdict
) -> None:
    assert finding(name, look(replace(OFFER, **change))).verdict is verdict  # type: ignore[arg-type]


def test_a_name_that_is_not_served_or_not_well_is_refused_and_a_rollback_is_not() -> None:
    assert refusals(look(served=None))
    sick = replace(SERVED, ready=1)
    assert "1 of 2 replicas ready" in finding("served", look(served=sick)).line
    assert finding("served", look(served=sick)).verdict is Verdict.REFUSED
    assert finding("served", look(served=sick, allowed=Allowed(repair=True))).verdict is Verdict.WARNING
    none = replace(SERVED, replicas=0, ready=0)
    assert finding("served", look(served=none, allowed=Allowed(repair=True))).verdict is Verdict.REFUSED
    two = finding("served", look(machine=replace(MACHINE, versions_running=2), allowed=Allowed(repair=True)))
    assert two.verdict is Verdict.REFUSED


def test_adapters_are_named_with_their_tenants_and_have_to_be_agreed_on() -> None:
    machine = replace(MACHINE, adapters=(("ft:coder:acme:x", "acme"),), jobs_on_base=1)
    found = finding("adapters", look(machine=machine))
    assert found.verdict is Verdict.REFUSED
    assert "ft:coder:acme:x (acme)" in found.line
    agreed = look(machine=machine, allowed=Allowed(without_adapters=True))
    assert finding("adapters", agreed).verdict is Verdict.WARNING


def test_an_upgrade_that_runs_forbids_another_with_and_without_a_bundle() -> None:
    busy = replace(MACHINE, running_upgrade="the upgrade 1234 of coder was interrupted")
    for found in (look(machine=busy), list(machine_findings(busy))):
        assert finding("upgrades", found).verdict is Verdict.REFUSED
        assert "coderack upgrade resume" in finding("upgrades", found).line


def test_a_switch_that_could_not_be_tried_is_refused() -> None:
    assert "tenant system" in "".join(refusals(look(machine=replace(MACHINE, verifiable=False))))


def test_unhealthy_devices_are_a_warning() -> None:
    assert finding("devices", look(machine=replace(MACHINE, healthy=15))).verdict is Verdict.WARNING
