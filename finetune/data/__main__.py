"""`python -m finetune.data SOURCE --filename NAME --out DIR --secret-file F`: prepare one upload, telling how it goes.

JSON lines on stdout. Exit codes: 0 prepared, 3 refused, 4 no room on the disk.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from finetune.data.errors import DatasetRefused, NoRoom
from finetune.data.licences.families import unwanted_names
from finetune.data.prepare import prepare
from finetune.train.parent import die_with

REFUSED, NO_ROOM = 3, 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m finetune.data", description="Prepare one upload for training.")
    parser.add_argument("source", type=Path)
    parser.add_argument("--filename", required=True, help="the name it was uploaded under; its ending says what it is")
    parser.add_argument("--out", type=Path, required=True, help="the directory that gets rows, reports and manifest")
    parser.add_argument(
        "--secret-file", type=Path, required=True, help="holds the key for the digests of removed values"
    )
    parser.add_argument(
        "--unwanted-licences",
        default="",
        help="families or SPDX ids, separated by commas: files under these are dropped",
    )
    parser.add_argument("--parent", type=int, help="the process that this one must not outlive")
    asked = parser.parse_args()
    if asked.parent is not None:
        die_with(asked.parent)
    secret = asked.secret_file.read_bytes().strip()
    if not secret:
        parser.error(f"{asked.secret_file} is empty: write a random secret into it")
    try:
        unwanted = unwanted_names(asked.unwanted_licences)
    except ValueError as error:
        parser.error(str(error))
    try:
        prepared = prepare(
            asked.source, asked.filename, asked.out, secret, progress=_progress, unwanted_licences=unwanted
        )
    except DatasetRefused as refused:
        _say(event="refused", faults=list(refused.faults))
        return REFUSED
    except NoRoom as full:
        sys.stderr.write(f"{full}\n")
        return NO_ROOM
    _say(event="prepared", kind=prepared.kind, rows=prepared.rows, digest=prepared.digest)
    return 0


def _progress(stage: str, rows: int, characters: int) -> None:
    _say(event="progress", stage=stage, rows=rows, characters=characters)


def _say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
