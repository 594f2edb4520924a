"""Who may sign what, for how long, and how the root of trust changes hands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.bundle.errors import BundleRefused
from ops.bundle.keys import Keys, load_signer
from ops.bundle.layout import TIMESTAMP
from ops.bundle.metadata import Versions
from ops.bundle.signing import sign_root
from ops.bundle.trust import Seen
from ops.bundle.verify import verify
from ops.slots.files import sha256_of
from tests.ops.bundle.conftest import LIFETIME, NOW, resign, write_keys, write_metadata
from tests.ops.bundle.verifying import check, faults


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
