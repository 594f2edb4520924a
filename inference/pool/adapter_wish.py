"""Tells an engine's own plugin what its adapters are: directories, digests, which ones keep their place.

A file beside the engine's home, replaced as a whole. It is there as long as the engine is, so that neither a restart of the
pool nor a read of an adapter long after it was loaded needs anybody to be asked.
"""

import json
import os
from pathlib import Path

from inference.pool.adapters import Wish


def tell(place: Path, wish: Wish) -> None:
    """Replace what stands there, if it is another. Nothing where the engine has no home here: it runs elsewhere.

    Raises: OSError.
    """
    if not place.parent.is_dir():
        return
    adapters = sorted(wish.adapters, key=lambda adapter: (not adapter.pinned, adapter.name))
    content = json.dumps(
        {
            "format": 1,
            "adapters": [
                {"name": one.name, "path": str(one.path), "digest": one.digest, "pinned": one.pinned}
                for one in adapters
            ],
        }
    ).encode()
    if place.is_file() and place.read_bytes() == content:
        return
    written = place.with_suffix(".new")
    with written.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    written.replace(place)
