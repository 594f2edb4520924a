"""Ids are drawn ahead, and no two processes draw the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from inference.gateway.request import IDS_AT_ONCE, new_request_id

FORKED = """
import os
from inference.gateway.request import new_request_id
new_request_id()
child = os.fork()
os.write(1, "".join(f"{new_request_id()}\\n" for _ in range(5)).encode())
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_every_id_is_another_also_beyond_what_is_drawn_at_once() -> None:
    ids = [new_request_id() for _ in range(3 * IDS_AT_ONCE)]
    assert len(set(ids)) == len(ids)
    assert {len(one) for one in ids} == {len("req-") + 32}


def test_a_forked_process_draws_ids_of_its_own() -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=root, capture_output=True, text=True, check=True)
    ids = done.stdout.split()
    assert len(set(ids)) == len(ids) == 10
