"""Verifies adapters whenever vLLM reads their files, and keeps the pinned ones in its cache. Runs inside the engine.

vLLM 0.32 holds `--max-cpu-loras` adapters and reads one that it has thrown out again from the disk, without a word, in the
middle of a step. Here every such reading compares all files with their registered digests first. What a step needs
and is refused would end the engine, so the API's process looks before a request is taken: it refuses the request,
and takes the adapter off the engine's list, which is where the pool sees it.

Pinned adapters keep their place in the host's cache. Places on the device are left as they are: a batch may need all
of them, and vLLM would throw out what the batch under way needs.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coderack_adapter_files import Checker, WishFile  # type: ignore[import-not-found]  # beside it

VARIABLE = "CODERACK_ADAPTERS"
_MARK = "coderack_verifies"
_API_PROCESSES = ("MainProcess", "ApiServer")


def register() -> None:
    """Called by vLLM in each of its processes, before any adapter is loaded.

    An engine that would read adapters unverified must not serve: SystemExit ends it, where vLLM would ignore an Exception.
    """
    if VARIABLE not in os.environ:
        return  # nobody has said what its adapters are: no pool started it
    try:
        from coderack_adapter_files import Checker, WishFile
        from vllm.lora import worker_manager
        from vllm.utils.cache import LRUCache

        base, cached = worker_manager.WorkerLoRAManager, worker_manager.LRUCacheWorkerLoRAManager
        original = base._load_adapter
        if getattr(original, _MARK, False):
            return
        if "_load_adapter" in vars(cached) or not hasattr(LRUCache, "pin"):
            raise AttributeError("its cache of adapters is another one")
        checker = Checker(WishFile(Path(os.environ[VARIABLE])))
        base._load_adapter = _verifying(original, checker)
        cached.add_adapter = _pinning(cached.add_adapter, checker.wishes)
    except (ImportError, AttributeError) as error:
        raise SystemExit(
            f"this vLLM loads adapters elsewhere, and would read them without verifying them: {error}"
        ) from error
    if multiprocessing.current_process().name.startswith(_API_PROCESSES):
        _guard_requests(checker)


def _log() -> Any:
    from vllm.logger import init_logger

    return init_logger("vllm.coderack_adapters")


def _verifying(original: Any, checker: Checker) -> Any:
    """In the worker: nothing is read that was not just verified, and nothing may change meanwhile."""

    from coderack_adapter_files import patiently

    def load(self: Any, lora_request: Any) -> Any:
        name, path = lora_request.lora_name, lora_request.lora_path

        def once() -> Any:
            before = checker.verify(name, path, lora_request.lora_int_id)
            model = original(self, lora_request)
            checker.unchanged(name, path, before)
            return model

        model = patiently(once)
        _log().info("adapter %s: verified and read", name)
        return model

    setattr(load, _MARK, True)
    return load


def _pinning(original: Any, wishes: WishFile) -> Any:
    """In the worker: what is pinned can't be thrown out by the adapter that is added."""

    def add(self: Any, lora_request: Any) -> Any:
        manager, number = self._adapter_manager, lora_request.lora_int_id
        numbers = vars(self).setdefault("coderack_numbers", {})
        keep_pinned(manager, wishes, numbers)
        was_there = number in manager._registered_adapters
        added = original(self, lora_request)
        if not was_there:
            numbers[lora_request.lora_name] = number
            keep_pinned(manager, wishes, numbers)
        return added

    return add


def keep_pinned(manager: Any, wishes: WishFile, numbers: dict[str, int]) -> None:
    """Pin what the pool wants pinned of what is in the cache, and nothing else.

    As many places as a batch may take stay free, whatever the pool says. `numbers`: the engine's own, by name.
    """
    cache = manager._registered_adapters
    names = [name for name, wanted in wishes.read().items() if wanted.pinned]
    allowed = names[: max(0, manager.capacity - manager.lora_slots)]
    pinned = {numbers[name] for name in allowed if numbers.get(name) in cache}
    if pinned == cache.pinned_items:
        return
    for number in cache.pinned_items - pinned:
        cache.pinned_items.discard(number)
    for number in pinned:
        cache.pin(number)
    kept = sorted(name for name in allowed if numbers.get(name) in pinned)
    _log().info("adapters that keep their place: %s", ", ".join(kept) or "none")


def _guard_requests(checker: Checker) -> None:
    """In the API's process: a request for an adapter whose files were changed is refused before the engine sees it."""
    try:
        from vllm.entrypoints.serve.engine.serving import BaseServing

        original = BaseServing._check_model
    except (ImportError, AttributeError) as error:
        _log().warning("adapters that were changed will end this engine, requests for them can't be refused: %s", error)
        return
    BaseServing._check_model = _refusing(original, checker)


def _refusing(original: Any, checker: Checker) -> Any:
    from coderack_adapter_files import AdapterRefused

    looking: dict[int, asyncio.Lock] = {}

    async def check_model(self: Any, request: Any) -> Any:
        refused = await original(self, request)
        listed: dict[str, Any] = getattr(self.models, "lora_requests", {})
        if refused is not None or request.model not in listed:
            return refused
        asked_for = listed[request.model]
        which = (asked_for.lora_name, asked_for.lora_path, asked_for.lora_int_id)
        try:
            if not checker.is_known(*which):
                async with looking.setdefault(asked_for.lora_int_id, asyncio.Lock()):  # many requests, one reading
                    if not checker.is_known(*which):
                        await asyncio.to_thread(checker.verify, *which)
        except AdapterRefused as fault:
            _log().error("%s; requests for it are refused", fault)
            if listed.get(request.model) is asked_for:
                del listed[request.model]
            return self.create_error_response(str(fault), "AdapterRefused", HTTPStatus.BAD_REQUEST, "model")
        return None

    return check_model
