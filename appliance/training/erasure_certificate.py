"""The signed certificate of an erasure: its folder in the data directory, and each of its files to hand out."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from appliance.training.models import Erasure
from ops.acceptance import folder
from ops.acceptance.certificate import canonical
from ops.acceptance.signing import ensure_key, signature
from ops.erasure.certificate import Erased, page, payload

FILES = (folder.JSON, folder.HTML, folder.SIGNATURE)


def root() -> Path:
    """Where certificates of erasures lie."""
    return Path(settings.ENV.data_dir) / "erasures"


def certify(erasure: Erasure, lingering: tuple[str, ...]) -> tuple[str, datetime]:
    """Write and sign a certificate, or take the one that somebody who was killed had published; its digest and its moment.

    Only one at a time for an erasure: the caller has its row.
    """
    place = root() / str(erasure.pk)
    if not place.is_dir():
        root().mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(root() / f".new-{erasure.pk}", ignore_errors=True)
        facts = payload(_erased(erasure, datetime.now(UTC), lingering))
        made = {folder.JSON: canonical(facts), folder.HTML: page(facts)}
        key = ensure_key(Path(settings.ENV.data_dir) / "acceptance" / "keys")
        folder.publish(folder.prepare(root(), str(erasure.pk), {**made, folder.SIGNATURE: signature(key, made)}))
    content = (place / folder.JSON).read_bytes()
    return hashlib.sha256(content).hexdigest(), datetime.fromisoformat(json.loads(content)["finished_at"])


def certificate_file(erasure: Erasure, name: str) -> Path:
    """One of a certificate's files.

    Raises: FileNotFoundError.
    """
    path = root() / str(erasure.pk) / name
    if name not in FILES or not path.is_file():
        raise FileNotFoundError(f"erasure {erasure.pk} has no {name}")
    return path


def _erased(erasure: Erasure, finished_at: datetime, lingering: tuple[str, ...]) -> Erased:
    file = erasure.file
    return Erased(
        id=str(erasure.pk), tenant=erasure.tenant_id, by=erasure.asked_by,
        file={"id": file.pk, "filename": file.filename, "sha256": file.sha256, "bytes": file.bytes},
        asked_at=erasure.asked_at.astimezone(UTC).isoformat(timespec="seconds"),
        finished_at=finished_at.isoformat(timespec="seconds"),
        led_to=erasure.planned, removed=erasure.removed, lingering=lingering,
    )  # fmt: skip
