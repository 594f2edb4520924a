"""Adapters and base weights on disk, as small as they can be: real safetensors headers, a real manifest."""

import hashlib
import json
from pathlib import Path

MODULE = "model.layers.0.self_attn.q_proj"
HIDDEN = 8


def safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))


def make_base(folder: Path, modules=(MODULE,)) -> Path:
    """Adds weights to a model's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors(folder / "model.safetensors", {f"{module}.weight": (HIDDEN, HIDDEN) for module in modules})
    return folder


def make_adapter(folder: Path, rank=4, modules=(MODULE,), shape=(HIDDEN, HIDDEN), **config) -> str:
    """The digest of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {}
    for module in modules:
        shapes[f"base_model.model.{module}.lora_A.weight"] = (rank, shape[1])
        shapes[f"base_model.model.{module}.lora_B.weight"] = (shape[0], rank)
    safetensors(folder / "adapter_model.safetensors", shapes)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, **config}))
    return seal(folder)


def seal(folder: Path) -> str:
    """Write the manifest anew, over whatever the folder holds."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    files = [
        {"path": name, "size_bytes": (folder / name).stat().st_size, "sha256": sha256((folder / name).read_bytes())}
        for name in names
    ]
    manifest = json.dumps({"format": 1, "name": "a", "origin": "o", "licence": "l", "files": files}).encode()
    (folder / "manifest.json").write_bytes(manifest)
    return sha256(manifest)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
