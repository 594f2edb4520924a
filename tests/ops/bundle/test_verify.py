from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.bundle.errors import BundleRefused
from ops.bundle.keys import Keys, load_signer
from ops.bundle.layout import TIMESTAMP
from ops.bundle.metadata import Versions
from ops.bundle.signing import Target, sign_root, sign_targets
from ops.bundle.trust import Seen
from ops.bundle.verify import Bundle, describe, verify
from ops.models import manifest
from ops.slots.files import sha256_of
from tests.ops.bundle.conftest import LIFETIME, NOW, resign, write_keys, write_metadata


def check(bundle: Path, root: bytes, now: datetime = NOW) -> Bundle:
    return verify(bundle, root, lambda line: None, now)


def faults(bundle: Path, root: bytes, now: datetime = NOW) -> tuple[str, ...]:
    with pytest.raises(BundleRefused) as refused:
        check(bundle, root, now)
    assert refused.value.faults
    assert all("\n" not in fault for fault in refused.value.faults)
    return refused.value.faults


def files_of(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.rglob("*") if path.is_file())


def test_a_whole_bundle_is_accepted(bundle: Path, keys: Keys) -> None:
    facts = describe(check(bundle, keys.root))
    assert facts["name"] == "tiny"
    assert facts["versions"] == {"targets": 1, "snapshot": 1, "timestamp": 1}
    assert facts["expires"] == "2026-05-30T12:00:00+00:00"


def test_verifying_changes_nothing(bundle: Path, keys: Keys) -> None:
    before = {path: (sha256_of(path), path.stat().st_mtime_ns) for path in files_of(bundle)}
    check(bundle, keys.root)
    assert {path: (sha256_of(path), path.stat().st_mtime_ns) for path in files_of(bundle)} == before


# Bytes


@settings(deadline=None)  # files are read, and the disk has other work
@given(data=st.data())
def test_no_byte_of_any_file_can_be_changed(made: Path, data: st.DataObject) -> None:
    root = (made / "keys/root.json").read_bytes()
    path = data.draw(st.sampled_from(files_of(made / "bundle")))
    content = path.read_bytes()
    offset = data.draw(st.integers(0, len(content) - 1))
    flipped = content[offset] ^ data.draw(st.integers(1, 255))
    try:
        path.write_bytes(content[:offset] + bytes([flipped]) + content[offset + 1 :])
        faults(made / "bundle", root)
    finally:
        path.write_bytes(content)
    check(made / "bundle", root)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
@pytest.mark.parametrize("name", [TIMESTAMP, "metadata/1.root.json"])
def test_not_even_the_case_of_a_digit_of_a_signature_can_be_changed(
    bundle: Path, keys: Keys, name: str, mask: int
) -> None:
    content = (bundle / name).read_bytes()
    for offset in range(len(content)):
        (bundle / name).write_bytes(content[:offset] + bytes([content[offset] ^ mask]) + content[offset + 1 :])
        faults(bundle, keys.root)


def test_no_file_can_be_cut_lengthened_emptied_or_removed(bundle: Path, keys: Keys) -> None:
    for path in files_of(bundle):
        content = path.read_bytes()
        for other in (content[:-1], content[: len(content) // 2], b"", content + b"\n", b" " + content, content * 2):
            path.write_bytes(other)
            faults(bundle, keys.root)
        path.unlink()
        faults(bundle, keys.root)
        path.write_bytes(content)
    check(bundle, keys.root)


@pytest.mark.parametrize(
    "name",
    ["extra", "metadata/extra.json", "metadata/2.targets.json", "targets/x", "targets/model/x.txt", "targets/model/.x"],
)
def test_no_file_can_be_added(bundle: Path, keys: Keys, name: str) -> None:
    (bundle / name).write_text("{}")
    assert faults(bundle, keys.root) == (f"{name!r}: not part of the bundle",)


def test_no_directory_can_be_added(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/empty").mkdir()
    assert faults(bundle, keys.root) == ("'targets/empty': not part of the bundle",)


@pytest.mark.parametrize(
    "name", ["metadata/timestamp.json", "targets/bundle.json", "targets/model/config.json", "targets/model"]
)
def test_a_link_is_refused_wherever_it_leads(bundle: Path, keys: Keys, tmp_path: Path, name: str) -> None:
    (bundle / name).rename(tmp_path / "outside")
    (bundle / name).symlink_to(tmp_path / "outside")
    assert faults(bundle, keys.root) == (f"{name!r}: neither a plain file nor a directory",)


def test_a_pipe_is_refused_and_not_read(bundle: Path, keys: Keys) -> None:
    (bundle / TIMESTAMP).unlink()
    os.mkfifo(bundle / TIMESTAMP)
    assert "neither a plain file" in faults(bundle, keys.root)[0]


def test_a_tree_of_any_depth_is_a_refusal_and_not_a_crash(bundle: Path, keys: Keys) -> None:
    deep = [f"{bundle}{'/d' * depth}" for depth in range(1, 1501)]
    for path in deep:
        os.mkdir(path)
    try:
        assert "not part of the bundle" in faults(bundle, keys.root)[0]
    finally:
        for path in reversed(deep):  # shutil.rmtree goes down by recursion
            os.rmdir(path)


def test_metadata_without_end_is_not_read_to_its_end(bundle: Path, keys: Keys) -> None:
    os.truncate(bundle / TIMESTAMP, 1 << 40)  # sparse: it takes no room
    assert faults(bundle, keys.root) == (f"{TIMESTAMP}: too large",)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"signed":' * 50_000, b"\xff", b"null", b"[]", b'{"signed":{}}'])
def test_metadata_of_any_content_is_a_refusal_and_not_a_crash(bundle: Path, keys: Keys, content: bytes) -> None:
    for name in (TIMESTAMP, "metadata/1.root.json"):
        kept = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content)
        assert name in faults(bundle, keys.root)[0]
        (bundle / name).write_bytes(kept)


def test_a_place_without_a_bundle_is_said_to_be_one(tmp_path: Path, keys: Keys) -> None:
    assert "no such directory" in faults(tmp_path / "nowhere", keys.root)[0]
    (tmp_path / "empty").mkdir()
    assert faults(tmp_path / "empty", keys.root) == ("metadata/1.root.json: missing",)


# Time


def test_a_bundle_is_accepted_until_it_expires(bundle: Path, keys: Keys) -> None:
    check(bundle, keys.root, NOW + LIFETIME - timedelta(seconds=1))
    assert "timestamp.json: expired on 2026-05-30" in faults(bundle, keys.root, NOW + LIFETIME)[0]


def test_a_root_expires_too(bundle: Path, keys: Keys) -> None:
    resign(bundle, keys, expires=NOW + timedelta(days=9999))
    assert "1.root.json: expired" in faults(bundle, keys.root, NOW + timedelta(days=3651))[0]


@pytest.mark.parametrize("stale", ["targets", "snapshot"])
def test_each_role_expires_by_itself(bundle: Path, keys: Keys, stale: str) -> None:
    # Signed in two goes, so that only this role's date is past.
    from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

    targets = Metadata[Targets].from_file(str(bundle / "metadata/1.targets.json"))
    snapshot = Metadata[Snapshot].from_file(str(bundle / "metadata/1.snapshot.json"))
    (targets if stale == "targets" else snapshot).signed.expires = NOW - timedelta(days=1)
    targets.sign(keys.online["targets"])
    listed = targets.to_bytes()
    snapshot.signed.meta["targets.json"] = MetaFile.from_data(1, listed, ["sha256"])
    snapshot.sign(keys.online["snapshot"])
    newest = MetaFile.from_data(1, snapshot.to_bytes(), ["sha256"])
    timestamp = Metadata(Timestamp(1, expires=NOW + LIFETIME, snapshot_meta=newest))
    timestamp.sign(keys.online["timestamp"])
    write_metadata(
        bundle,
        {
            "metadata/1.targets.json": listed,
            "metadata/1.snapshot.json": snapshot.to_bytes(),
            TIMESTAMP: timestamp.to_bytes(),
        },
    )
    assert f"1.{stale}.json: expired on 2026-02-28" in faults(bundle, keys.root)[0]


# Keys


def test_a_bundle_of_an_unknown_signer_is_refused(bundle: Path, tmp_path: Path) -> None:
    stranger = write_keys(tmp_path / "strangers")
    assert "not the root that is trusted here" in faults(bundle, stranger.root)[0]


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_metadata_signed_by_an_unknown_key_is_refused(bundle: Path, keys: Keys, tmp_path: Path, role: str) -> None:
    stranger = write_keys(tmp_path / "strangers")
    mixed = Keys(keys.directory, keys.root, 1, keys.root_expires, {**keys.online, role: stranger.online[role]})
    resign(bundle, mixed)
    assert f"{role}.json: signed by 0 of the 1 keys" in faults(bundle, keys.root)[0]


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_one_roles_key_cannot_stand_in_for_anothers(bundle: Path, keys: Keys, role: str) -> None:
    other = "snapshot" if role == "timestamp" else "timestamp"
    resign(bundle, Keys(keys.directory, keys.root, 1, keys.root_expires, {**keys.online, role: keys.online[other]}))
    assert f"{role}.json: signed by 0 of the 1 keys" in faults(bundle, keys.root)[0]


def test_a_further_signature_that_nobody_vouches_for_is_refused(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    from tuf.api.metadata import Metadata, Timestamp

    timestamp = Metadata[Timestamp].from_file(str(bundle / TIMESTAMP))
    timestamp.sign(write_keys(tmp_path / "strangers").online["timestamp"], append=True)
    (bundle / TIMESTAMP).write_bytes(timestamp.to_bytes())
    assert "no trusted key made" in faults(bundle, keys.root)[0]


def root_of(directory: Path, signers: int, threshold: int, version: int = 1, extra: Path | None = None) -> bytes:
    """A root of the keys in a directory that some of its keys sign."""
    numbers = [*range(1, len(list((directory / "offline").iterdir())) + 1)]
    roots = [load_signer(directory / f"offline/root-{number}.pem") for number in numbers]
    from tuf.api.metadata import Metadata, Root

    online = {role: load_signer(directory / f"{role}.pem") for role in ("targets", "snapshot", "timestamp")}
    content = sign_root(roots, online, threshold=threshold, expires=NOW + timedelta(days=3650), version=version)
    metadata = Metadata[Root].from_bytes(content)
    metadata.signatures.clear()
    for signer in [*roots[:signers], *([load_signer(extra)] if extra else [])]:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def test_a_threshold_of_two_is_not_met_by_one_signature(bundle: Path, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "two", root_keys=2, threshold=2)
    (bundle / "metadata/1.root.json").write_bytes(keys.root)
    resign(bundle, keys)
    check(bundle, keys.root)
    short = root_of(tmp_path / "two", signers=1, threshold=2)
    (bundle / "metadata/1.root.json").write_bytes(short)
    assert "1.root.json: signed by 1 of the 2 keys" in faults(bundle, keys.root)[0]
    assert "trusted root: signed by 1 of the 2 keys" in faults(bundle, short)[0]


def test_a_threshold_of_two_targets_keys_is_not_met_by_one(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    from tuf.api.metadata import Metadata, Root

    root = Metadata[Root].from_bytes(keys.root)
    second = write_keys(tmp_path / "more").online["targets"]
    root.signed.add_key(second.public_key, "targets")
    root.signed.roles["targets"].threshold = 2
    root.sign(load_signer(keys.directory / "offline/root-1.pem"))
    (bundle / "metadata/1.root.json").write_bytes(root.to_bytes())
    resign(bundle, keys)
    assert "targets.json: signed by 1 of the 2 keys" in faults(bundle, root.to_bytes())[0]


def test_a_new_root_is_followed_when_the_old_one_signed_it(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    new = write_keys(tmp_path / "new")
    old_key = keys.directory / "offline/root-1.pem"
    (bundle / "metadata/2.root.json").write_bytes(root_of(tmp_path / "new", 1, 1, version=2, extra=old_key))
    resign(bundle, new)
    assert check(bundle, keys.root).signed.root_version == 2
    resign(bundle, keys)
    assert "signed by 0 of the 1 keys" in faults(bundle, keys.root)[0]


def test_a_new_root_that_the_old_one_did_not_sign_is_refused(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    new = write_keys(tmp_path / "new")
    (bundle / "metadata/2.root.json").write_bytes(root_of(tmp_path / "new", 1, 1, version=2))
    resign(bundle, new)
    assert "2.root.json: signed by 0 of the 1 keys" in faults(bundle, keys.root)[0]


def test_a_bundle_from_before_a_change_of_root_is_refused_after_it(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    write_keys(tmp_path / "new")
    newer = root_of(tmp_path / "new", 1, 1, version=2, extra=keys.directory / "offline/root-1.pem")
    assert faults(bundle, newer)


def test_a_gap_in_the_chain_of_roots_is_refused(bundle: Path, keys: Keys) -> None:
    content = root_of(keys.directory, 1, 1, version=3)
    (bundle / "metadata/3.root.json").write_bytes(content)
    assert "one before it is missing" in faults(bundle, keys.root)[0]


@pytest.mark.parametrize("role", ["targets", "snapshot"])
def test_metadata_of_another_bundle_with_the_same_version_and_keys_is_refused(
    bundle: Path, keys: Keys, role: str
) -> None:
    path = bundle / f"metadata/1.{role}.json"
    other = path.read_bytes()
    resign(bundle, keys, version=1, expires=NOW + timedelta(days=1))
    path.write_bytes(other)
    assert faults(bundle, keys.root) == (f"metadata/1.{role}.json: not what was signed (length or hash differs)",)


def test_an_older_bundle_is_refused_before_its_model_is_read(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/model/config.json").write_text("changed")
    with pytest.raises(BundleRefused, match="older than 2") as refused:
        verify(bundle, keys.root, lambda line: Seen(Versions(1, 1, 2), ""), NOW)
    assert len(refused.value.faults) == 1


# What a signer gets wrong, or a thief of keys tries


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/tmp/outside.txt", "model/../../x.txt", "model//x.txt", ".x", "model/a\\b"]
)
def test_a_name_that_leads_out_of_the_bundle_is_refused_though_it_is_signed(
    bundle: Path, keys: Keys, name: str
) -> None:
    (bundle / "outside.txt").write_text("x")
    bad = Target(name, 1, sha256_of(bundle / "outside.txt"))
    (bundle / "outside.txt").unlink()
    write_metadata(bundle, sign_targets([bad], keys.online, 1, NOW + LIFETIME))
    assert faults(bundle, keys.root) == (
        f"metadata/1.targets.json: {name!r}: not a plain relative path of letters, digits and . _ + -",
    )


def pickle(model: Path) -> None:
    (model / "weights.pkl").write_bytes(b"\x80\x04.")


def code(model: Path) -> None:
    (model / "config.json").write_text('{"auto_map": {"AutoModel": "modeling.X"}}')


def no_weights(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\x80\x04pickle")


def write_manifest(model: Path) -> None:
    """A manifest over whatever lies there: manifest.write itself would refuse."""
    path = model / manifest.FILE_NAME
    names = sorted(str(p.relative_to(model)) for p in model.rglob("*") if p.is_file() and p != path)
    files = [{"path": n, "size_bytes": (model / n).stat().st_size, "sha256": sha256_of(model / n)} for n in names]
    path.write_text(json.dumps({"format": 1, "name": "tiny", "origin": "", "licence": "", "files": files}))


@pytest.mark.parametrize(
    ("spoil", "said"), [(pickle, "weights.pkl"), (code, "auto_map"), (no_weights, "not a safetensors file")]
)
def test_signed_files_that_could_run_code_are_refused(
    bundle: Path, keys: Keys, spoil: Callable[[Path], None], said: str
) -> None:
    model = bundle / "targets/model"
    spoil(model)
    write_manifest(model)
    about = json.loads((bundle / "targets/bundle.json").read_text()) | {"digest": sha256_of(model / manifest.FILE_NAME)}
    (bundle / "targets/bundle.json").write_text(json.dumps(about))
    resign(bundle, keys)
    [fault] = faults(bundle, keys.root)
    assert said in fault


def test_signed_files_that_the_manifest_does_not_name_are_refused(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/model/more.txt").write_text("x")
    resign(bundle, keys)
    assert "not those of the model's manifest.json" in faults(bundle, keys.root)[0]


def test_a_signed_file_beside_the_model_is_refused(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/install.sh").write_text("x")
    resign(bundle, keys)
    assert faults(bundle, keys.root) == ("targets/install.sh: neither bundle.json nor part of the model",)


def test_a_description_of_another_model_is_refused(bundle: Path, keys: Keys) -> None:
    about = json.loads((bundle / "targets/bundle.json").read_text()) | {"digest": "0" * 64}
    (bundle / "targets/bundle.json").write_text(json.dumps(about))
    resign(bundle, keys)
    assert "names another model" in faults(bundle, keys.root)[0]


@pytest.mark.parametrize("missing", ["targets/bundle.json", "targets/model"])
def test_a_signed_bundle_without_a_model_or_a_description_is_refused(bundle: Path, keys: Keys, missing: str) -> None:
    path = bundle / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    resign(bundle, keys)
    assert faults(bundle, keys.root)


def test_all_changed_files_are_named_at_once(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/model/config.json").write_text("{}")
    (bundle / "targets/model/nested/merges.txt").write_text("b a\n")
    assert [fault.split(":")[0] for fault in faults(bundle, keys.root)] == [
        "targets/model/config.json",
        "targets/model/nested/merges.txt",
    ]


# Others' tools


def test_the_reference_client_accepts_the_bundle_too(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

    class Disk(FetcherInterface):
        def _fetch(self, url: str):  # type: ignore[no-untyped-def]
            path = bundle / url.removeprefix("disk:///")
            if not path.exists():
                from tuf.api.exceptions import DownloadHTTPError

                raise DownloadHTTPError("no such file", 404)
            return iter([path.read_bytes()])

    resign(bundle, keys, expires=datetime.now(UTC) + LIFETIME)  # it has no clock to set
    (tmp_path / "cache").mkdir()
    client = Updater(
        str(tmp_path / "cache"), "disk:///metadata/", str(tmp_path), "disk:///targets/", fetcher=Disk(),
        config=UpdaterConfig(prefix_targets_with_hash=False), bootstrap=keys.root,
    )  # fmt: skip
    client.refresh()
    info = client.get_targetinfo("model/model.safetensors")
    assert info is not None
    fetched = client.download_target(info, str(tmp_path / "fetched"))
    assert sha256_of(Path(fetched)) == sha256_of(bundle / "targets/model/model.safetensors")
