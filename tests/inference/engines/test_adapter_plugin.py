"""The plugin that verifies and pins adapters in an engine, on stand-ins for vLLM's cache and its API's process.

With vLLM's own it is tried in a running engine, in test_cpu_lora.py.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from inference.engines import vllm
from tests.inference.pool.adapter_dirs import make_adapter, seal

NAME = "ft:m:acme:pay:1"


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(vllm.ADAPTER_PLUGINS))
    return importlib.import_module("coderack_adapter_files")


@pytest.fixture
def plugin(files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = importlib.import_module("coderack_adapters")
    log = SimpleNamespace(info=lambda *_: None, error=lambda *_: None)
    monkeypatch.setattr(module, "_log", lambda: log)
    return module


class Told:
    """The pool's file, and what it says of one adapter."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "adapters.json"
        self.path = folder / "adapter"
        self.digest = make_adapter(self.path)
        self.say({NAME: True})

    def say(self, pins: dict[str, bool]) -> None:
        adapters = [
            {"name": name, "path": str(self.path), "digest": self.digest, "pinned": pinned}
            for name, pinned in pins.items()
        ]
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"format": 1, "adapters": adapters}))
        new.replace(self.file)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


@pytest.fixture
def checker(files: ModuleType, told: Told) -> Any:
    return files.Checker(files.WishFile(told.file))


def change_weights(folder: Path) -> None:
    """One byte, and the time of writing as it was."""
    path = folder / "adapter_model.safetensors"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_it_takes_an_adapter_as_it_was_registered(checker: Any, told: Told) -> None:
    assert not checker.is_known(NAME, str(told.path), 1)
    checker.verify(NAME, str(told.path), 1)
    assert checker.is_known(NAME, str(told.path), 1)


def swap_for_a_pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def link_elsewhere(folder: Path) -> None:
    config = folder / "adapter_config.json"
    config.rename(folder.parent / "config")
    config.symlink_to(folder.parent / "config")


DAMAGES = {
    "adapter_model.safetensors was changed": change_weights,
    "manifest is not the one": lambda folder: ((folder / "more.json").write_text("{}"), seal(folder)),
    "not those of its manifest: adapter_model.bin, adapter_model.safetensors": swap_for_a_pickle,
    "not those of its manifest: more.json": lambda folder: (folder / "more.json").write_text("{}"),
    "can't be read: No such file": lambda folder: folder.rename(folder.with_name("away")),
    "can't be read": link_elsewhere,
}


@pytest.mark.parametrize("fault", DAMAGES)
def test_it_refuses_any_difference_also_after_it_has_verified_once(
    checker: Any, told: Told, files: ModuleType, fault: str
) -> None:
    checker.verify(NAME, str(told.path), 1)
    DAMAGES[fault](told.path)
    assert not checker.is_known(NAME, str(told.path), 1)
    with pytest.raises(files.AdapterRefused, match=fault) as refused:
        checker.verify(NAME, str(told.path), 1)
    assert NAME in str(refused.value)
    assert str(told.path.parent) not in str(refused.value), "a client reads it"


def test_it_refuses_what_is_neither_safetensors_nor_json(checker: Any, told: Told, files: ModuleType) -> None:
    (told.path / "code.py").write_text("print()")
    told.digest = seal(told.path)
    told.say({NAME: False})
    with pytest.raises(files.AdapterRefused, match=r"code\.py is neither"):
        checker.verify(NAME, str(told.path), 1)


def test_it_refuses_what_the_pool_does_not_name(checker: Any, told: Told, files: ModuleType) -> None:
    with pytest.raises(files.AdapterRefused, match="not registered"):
        checker.verify("ft:m:acme:other:2", str(told.path), 1)
    with pytest.raises(files.AdapterRefused, match="not registered"):
        checker.verify(NAME, str(told.path.parent), 1)
    told.file.unlink()
    with pytest.raises(files.AdapterRefused, match="not registered"):
        checker.verify(NAME, str(told.path), 1)


def test_requests_under_way_keep_the_digest_of_an_adapter_that_is_taken_away(
    checker: Any, told: Told, files: ModuleType
) -> None:
    checker.verify(NAME, str(told.path), 1)
    told.say({})
    checker.verify(NAME, str(told.path), 1)
    change_weights(told.path)
    with pytest.raises(files.AdapterRefused, match="was changed"):
        checker.verify(NAME, str(told.path), 1)


def test_the_worker_reads_nothing_that_changes_meanwhile(
    plugin: ModuleType, checker: Any, told: Told, files: ModuleType
) -> None:
    request = SimpleNamespace(lora_name=NAME, lora_path=str(told.path), lora_int_id=1)
    read: list[str] = []
    load = plugin._verifying(lambda _, asked: read.append(asked.lora_name) or "weights", checker)
    assert load(None, request) == "weights"
    with pytest.raises(files.AdapterRefused, match="was changed since"):
        plugin._verifying(lambda *_: change_weights(told.path), checker)(None, request)
    with pytest.raises(files.AdapterRefused, match="was changed"):
        load(None, request)
    assert read == [NAME]


def exchange_and_back(told: Told) -> None:
    aside, other = told.path.with_name("aside"), told.path.with_name("other")
    other.mkdir(exist_ok=True)
    told.path.rename(aside)
    other.rename(told.path)
    told.path.rename(other)
    aside.rename(told.path)


@pytest.mark.parametrize("touch", [lambda told: (told.path / "adapter_config.json").chmod(0o600), exchange_and_back])
def test_what_was_touched_while_it_was_read_is_read_again(
    plugin: ModuleType, checker: Any, told: Told, files: ModuleType, touch: Callable[[Told], object]
) -> None:
    request = SimpleNamespace(lora_name=NAME, lora_path=str(told.path), lora_int_id=1)
    read: list[int] = []

    def once(*_: object) -> str:
        read.append(1)
        if len(read) == 1:
            touch(told)
        return "weights"

    assert plugin._verifying(once, checker)(None, request) == "weights"
    assert len(read) == 2
    with pytest.raises(files.FilesTouched, match="while they were read"):
        plugin._verifying(lambda *_: touch(told), checker)(None, request)


def test_a_directory_that_is_a_link_is_not_read(checker: Any, told: Told, files: ModuleType) -> None:
    moved = told.path.rename(told.path.with_name("elsewhere"))
    told.path.symlink_to(moved)
    with pytest.raises(files.AdapterRefused, match="can't be read"):
        checker.verify(NAME, str(told.path), 1)


def test_a_word_of_the_pools_that_cant_be_read_is_as_it_was(checker: Any, told: Told) -> None:
    before = checker.wishes.read()
    assert before
    told.file.write_text("half a")
    assert checker.wishes.read() == before


class Serving:
    """As vLLM's: it knows a model by its list of adapters."""

    def __init__(self, told: Told) -> None:
        asked_for = SimpleNamespace(lora_name=NAME, lora_path=str(told.path), lora_int_id=1)
        self.models = SimpleNamespace(lora_requests={NAME: asked_for})

    def create_error_response(self, message: str, kind: str, status: int, param: str) -> tuple[Any, ...]:
        return message, kind, int(status), param


def test_a_request_for_a_changed_adapter_is_refused_and_the_engines_list_lacks_it(
    plugin: ModuleType, checker: Any, told: Told
) -> None:
    async def original(self: Serving, request: Any) -> str | None:
        return None if request.model in ("m", *self.models.lora_requests) else "404"

    check = plugin._refusing(original, checker)
    serving, request = Serving(told), SimpleNamespace(model=NAME)
    for _ in range(2):
        assert asyncio.run(check(serving, request)) is None
    change_weights(told.path)
    message, kind, status, param = asyncio.run(check(serving, request))
    assert (kind, status, param) == ("AdapterRefused", 400, "model")
    assert "adapter_model.safetensors was changed" in message
    assert serving.models.lora_requests == {}
    assert asyncio.run(check(serving, request)) == "404"
    assert asyncio.run(check(serving, SimpleNamespace(model="m"))) is None


class Cache(dict[int, str]):
    def __init__(self, *numbers: int) -> None:
        super().__init__(dict.fromkeys(numbers, "weights"))
        self.pinned_items: set[int] = set()

    def pin(self, number: int) -> None:
        assert number in self
        self.pinned_items.add(number)


def test_it_pins_what_the_pool_says_and_is_there_and_leaves_a_batch_its_places(
    plugin: ModuleType, checker: Any, told: Told
) -> None:
    manager = SimpleNamespace(capacity=5, lora_slots=2, _registered_adapters=Cache(1, 2, 3, 4))
    numbers = {"a": 1, "b": 2, "c": 3, "d": 4, "gone": 9}

    def keep(**pins: bool) -> set[int]:
        told.say(pins)
        plugin.keep_pinned(manager, checker.wishes, numbers)
        return manager._registered_adapters.pinned_items

    assert keep(a=True, b=False) == {1}
    assert keep(b=True, gone=True, unseen=True) == {2}
    assert keep(a=True, b=True, c=True, d=True) == {1, 2, 3}, "two places stay free"
    assert keep() == set()
    manager.capacity = 2
    assert keep(a=True) == set(), "one batch may take all"


def test_an_engine_without_the_pools_word_is_left_as_it_is(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vllm.ADAPTERS_VARIABLE, raising=False)
    plugin.register()  # vLLM isn't even there


def test_an_engine_that_loads_adapters_elsewhere_does_not_serve(
    plugin: ModuleType, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(vllm.ADAPTERS_VARIABLE, str(told.file))
    for name in ("vllm", "vllm.lora", "vllm.lora.worker_manager"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with pytest.raises(SystemExit, match="without verifying"):
        plugin.register()
