"""JSON lines on what was the standard output. Everything else that prints goes to the log instead."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any


class EventWriter:
    """One JSON object a line, at once. Open it before libraries are loaded."""

    def __init__(self) -> None:
        # a library that prints must not end up between the lines
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def write(self, **content: Any) -> None:
        line = memoryview(json.dumps(content, ensure_ascii=False).encode() + b"\n")
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more; what counts lies on the disk
            while line:
                line = line[os.write(self._descriptor, line) :]
