"""Git bundles: what is read of them, what is left out, and what refuses them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune.data import git_bundles, sources
from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits
from finetune.data.prepare import SCRATCH, prepare
from finetune.data.rows import Skipped, TextRow
from finetune.data.validate import check_quickly
from tests.finetune.data.archives import code

WHO = {f"GIT_{role}_{field}": "someone@example.com" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}


class Repository:
    """A bare repository whose trees are written byte by byte, so that they can hold what git itself would refuse."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.git("init", "--quiet", "--bare", str(folder))

    def git(self, *arguments: str, given: bytes = b"") -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_DIR": str(self._folder), **WHO}
        done = subprocess.run(["git", *arguments], input=given, env=environment, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def written(self, kind: str, content: bytes) -> str:
        return self.git("hash-object", "-t", kind, "-w", "--stdin", "--literally", given=content)

    def bundle(self, path: Path, entries: list[tuple[str, bytes, str]], *more: str) -> Path:
        tree = self.written("tree", b"".join(b"%b %b\0%b" % (m.encode(), n, bytes.fromhex(o)) for m, n, o in entries))
        commit = self.git("commit-tree", "-m", "all of it", tree)
        self.git("update-ref", "refs/heads/main", commit)
        self.git("symbolic-ref", "HEAD", "refs/heads/main")
        self.git("bundle", "create", "--quiet", str(path), *(more or ("HEAD",)))
        return path

    def of(self, path: Path, *names: bytes) -> Path:
        return self.bundle(path, [("100644", name, self.written("blob", b"value of " + name)) for name in names])


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "source.git")


def refusal(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(DatasetRefused) as caught:
        list(sources.read(path, "code.bundle", limits or Limits()))
    (fault,) = caught.value.faults
    return fault


def test_files_become_rows_and_links_submodules_and_pointers_are_left_out(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository.written(
        "tree", b"100755 run \xe4\xb8\xad.sh\0" + bytes.fromhex(repository.written("blob", b"ls\r\n"))
    )
    path = repository.bundle(
        tmp_path / "code.bundle",
        [
            ("100644", b"a.py", repository.written("blob", b"print(1)\n")),
            ("100644", b"big", repository.written("blob", b"x" * (2**20 + 1))),
            ("120000", b"link", repository.written("blob", b"/etc/passwd")),
            ("100644", b"model.bin", repository.written("blob", git_bundles.LFS + b"v1\noid sha256:0\nsize 9\n")),
            ("40000", b"scripts", folder),
            ("160000", b"vendored", "1" * 40),
        ],
    )
    found = list(sources.read(path, "code.bundle"))
    assert [row for row in found if isinstance(row, TextRow)] == [
        TextRow("a.py", "print(1)\n"),
        TextRow("scripts/run 中.sh", "ls\n"),
    ]
    skipped = [item.reason for item in found if isinstance(item, Skipped)]
    assert skipped == ["too_large", "link", "large_file_pointer", "submodule"]


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"a/b"])
def test_a_tree_that_leads_elsewhere_is_refused_by_git(tmp_path: Path, repository: Repository, name: bytes) -> None:
    assert "damaged" in refusal(repository.of(tmp_path / "x", name))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (b"a\x01b", "control characters"),
        (b"\xff.py", "isn't UTF-8"),
        (b"C:x", "absolute"),
        (b"a\\..\\b", "leads upwards"),
        (b"n" * 1100, "1024 bytes"),
    ],
)
def test_a_name_that_no_archive_may_have_is_refused(
    tmp_path: Path, repository: Repository, name: bytes, says: str
) -> None:
    assert says in refusal(repository.of(tmp_path / "x", name))


@pytest.mark.parametrize(
    ("limits", "says"), [(Limits(members=2), "more than 2 members"), (Limits(unpacked_bytes=20), "more than 20 bytes")]
)
def test_counts_and_sizes_are_bounded(tmp_path: Path, repository: Repository, limits: Limits, says: str) -> None:
    assert says in refusal(repository.of(tmp_path / "x", b"a", b"b", b"c"), limits)


def test_a_tree_of_trees_that_multiplies_is_refused_early(tmp_path: Path, repository: Repository) -> None:
    mode, inner = "100644", repository.written("blob", b"x")
    for _ in range(9):
        entries = [b"%b d%d\0%b" % (mode.encode(), n, bytes.fromhex(inner)) for n in range(10)]
        mode, inner = "40000", repository.written("tree", b"".join(entries))
    assert "more than 500 members" in refusal(
        repository.bundle(tmp_path / "x", [(mode, b"d", inner)]), Limits(members=500)
    )


def test_a_tree_of_empty_trees_that_multiplies_ends_with_gits_time(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_bundles, "CPU_S", 1)
    inner = repository.written("tree", b"")
    for _ in range(12):
        entries = [b"40000 d%d\0%b" % (n, bytes.fromhex(inner)) for n in range(10)]
        inner = repository.written("tree", b"".join(entries))
    assert "too large to unpack" in refusal(repository.bundle(tmp_path / "x", [("40000", b"d", inner)]))


def test_git_has_no_more_memory_than_it_may(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository.of(tmp_path / "x", b"a")
    monkeypatch.setattr(git_bundles, "MEMORY_KIB", 4 * 1024)
    assert "too large to unpack" in refusal(path)


def test_a_bundle_larger_than_gits_memory_is_read(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in ("core.compression", "core.bigFileThreshold"):  # to be done with packing soon
        repository.git("config", setting, "0")
    contents = [os.urandom(6 << 20) for _ in range(13)]
    entries = [("100644", b"%02d.bin" % n, repository.written("blob", one)) for n, one in enumerate(contents)]
    path = repository.bundle(tmp_path / "x", entries)
    monkeypatch.setattr(git_bundles, "MEMORY_KIB", 64 * 1024)
    members = git_bundles.read(path, Limits(member_bytes=6 << 20))
    assert all(member.data == content for member, content in zip(members, contents, strict=True))


def test_a_path_without_end_is_refused(tmp_path: Path, repository: Repository) -> None:
    assert "a path of more than" in refusal(repository.of(tmp_path / "x", b"n" * 500_000))


def damages() -> Iterator[tuple[str, bytes, bytes, str]]:
    yield "another signature", b"# v2 git", b"# v9 git", "isn't a git bundle"
    yield "a filter", b"# v2 git bundle\n", b"# v3 git bundle\n@filter=blob:none\n", "unknown capability"
    yield "a commit that is no name", b" HEAD\n", b"0 HEAD\n", "header is damaged"
    yield "no HEAD", b" HEAD\n", b" refs/tags/v1\n", "no HEAD"
    yield "a prerequisite", b"git bundle\n", b"git bundle\n-" + b"1" * 40 + b" before\n", "commits that it doesn't hold"
    yield "no objects", b"PACK", b"KCAP", "damaged"


@pytest.mark.parametrize(
    ("old", "new", "says"), [damage[1:] for damage in damages()], ids=[one[0] for one in damages()]
)
def test_a_damaged_bundle_is_refused(tmp_path: Path, repository: Repository, old: bytes, new: bytes, says: str) -> None:
    path = repository.of(tmp_path / "x", b"a")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    assert says in refusal(path)


def test_what_the_header_tells_is_told_at_the_upload(tmp_path: Path, repository: Repository) -> None:
    path = repository.of(tmp_path / "x", b"a")
    assert check_quickly(path, "code.bundle") == []
    path.write_bytes(b"PK" + path.read_bytes())
    assert "isn't a git bundle" in check_quickly(path, "code.bundle")[0]


def test_a_cut_and_a_changed_bundle_are_refused(tmp_path: Path, repository: Repository) -> None:
    path = repository.of(tmp_path / "x", b"a", b"b")
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    assert "damaged" in refusal(path)
    path.write_bytes(content[:-30] + bytes([content[-30] ^ 1]) + content[-29:])
    assert "damaged" in refusal(path)


def test_git_obeys_nothing_of_the_machine(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository.of(tmp_path / "x", b"a.py")
    touched = tmp_path / "touched"
    settings = f"[core]\n\tfsmonitor = touch {touched}\n\tpager = touch {touched}\n"
    (tmp_path / ".gitconfig").write_text(settings + f"[alias]\n\tls-tree = !touch {touched}\n")
    for name, value in {"HOME": str(tmp_path), "GIT_DIR": "/nonexistent", "GIT_TRACE": str(touched)}.items():
        monkeypatch.setenv(name, value)
    assert list(sources.read(path, "code.bundle")) == [TextRow("a.py", "value of a.py")]
    assert not touched.exists()


def test_without_git_the_refusal_says_so(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository.of(tmp_path / "x", b"a")
    monkeypatch.setattr(git_bundles.shutil, "which", lambda _: None)
    assert "git isn't installed" in refusal(path)


def test_a_bundle_becomes_a_dataset_and_its_objects_are_removed(tmp_path: Path, repository: Repository) -> None:
    entries = [
        ("100644", name.encode(), repository.written("blob", code(name[0]).encode())) for name in ("a.py", "b.py")
    ]
    path, out = repository.bundle(tmp_path / "upload", entries), tmp_path / "out"
    (out / SCRATCH / "bundle.git").mkdir(parents=True)  # by a process that was killed
    assert prepare(path, "code.bundle", out, b"secret").rows == 2
    assert not (out / SCRATCH).exists()
