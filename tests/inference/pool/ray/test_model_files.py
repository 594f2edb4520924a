"""The model's files on the machine that is to serve them: read once, remembered, read again where they changed."""

import hashlib
import os
import threading

import pytest

from inference.pool.ray import model_files
from inference.pool.ray.errors import OrderRefused
from inference.pool.ray.model_files import Abandoned, verify
from tests.inference.pool.adapter_dirs import make_base
from tests.waiting import wait_until


@pytest.fixture
def model(tmp_path):
    folder = make_base(tmp_path / "model")
    (folder / "config.json").write_text("{}")
    (folder / "more").mkdir()
    (folder / "more" / "words.txt").write_text("a")
    return folder


def seal_all(model):
    """The digest of a manifest over all files, the inner folder's too."""
    names = ["config.json", "model.safetensors", "more/words.txt"]
    files = [{"path": name, "sha256": hashlib.sha256((model / name).read_bytes()).hexdigest()} for name in names]
    content = model_files.msgspec.json.encode({"format": 1, "files": files})
    (model / "manifest.json").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def check(model, tmp_path):
    digest = seal_all(model)
    return lambda stop=None: verify(model, digest, tmp_path, stop or threading.Event())


def test_each_file_is_read_once_until_it_is_another_one(model, check):
    assert [check(), check()] == [3, 0]
    os.utime(model / "config.json")  # not a byte is another one
    assert [check(), check()] == [1, 0]
    (model / "copy").write_bytes((model / "config.json").read_bytes())
    (model / "copy").rename(model / "config.json")
    assert [check(), check()] == [1, 0]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "more/words.txt"])
def test_a_change_that_keeps_size_and_time_is_seen(model, check, name):
    check()
    before = (model / name).stat()
    content = (model / name).read_bytes()
    (model / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(model / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(OrderRefused, match=f"{name} was changed"):
        check()


def test_files_too_many_too_few_and_no_plain_ones_are_refused(model, check, tmp_path):
    (model / "model-2.safetensors").write_bytes(b"")
    with pytest.raises(OrderRefused, match="model-2"):
        check()
    (model / "model-2.safetensors").unlink()
    (model / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(OrderRefused, match=r"not those of its manifest: config\.json"):
        check()
    (model / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises((OrderRefused, OSError)):
        check()


def test_another_manifest_and_a_damaged_one_are_refused(model, tmp_path):
    digest = seal_all(model)
    with pytest.raises(OrderRefused, match=r"manifest\.json is another one"):
        verify(model, "0" * 64, tmp_path, threading.Event())
    (model / "manifest.json").write_bytes(b"{}")
    with pytest.raises(OrderRefused, match="is another one"):
        verify(model, digest, tmp_path, threading.Event())
    with pytest.raises(OrderRefused, match="is damaged"):
        verify(model, hashlib.sha256(b"{}").hexdigest(), tmp_path, threading.Event())


def test_what_is_remembered_and_not_understood_is_read_again(check, tmp_path):
    check()
    (memory,) = tmp_path.glob("model-*.json")
    memory.write_text("[]")
    assert check() == 3


def test_of_several_at_once_one_reads_and_who_is_not_wanted_any_more_leaves(check, tmp_path):
    counts, ended = [], []
    threads = [threading.Thread(target=lambda: counts.append(check())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 3]

    def wait(stop):
        try:
            check(stop)
        except Abandoned:
            ended.append(True)

    stop = threading.Event()
    (lock,) = tmp_path.glob("model-*.lock")
    with model_files._alone(lock, threading.Event()):
        waiting = threading.Thread(target=wait, args=(stop,))
        waiting.start()
        stop.set()
        wait_until(lambda: ended == [True])
    waiting.join()
