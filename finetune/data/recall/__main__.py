"""`python -m finetune.data.recall --own ROWS --corpora DIR --share S --seed N --out DIR`: recall what one fine-tune mixes in.

The last line on stdout is the report as JSON. Exit codes: 0 done, 4 no room on the disk, 5 a corpus is damaged.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from finetune.data.errors import NoRoom
from finetune.data.recall.choose import CorpusDamaged, Wanted, recall
from finetune.data.recall.corpora import corpora
from finetune.train.parent import die_with

NO_ROOM, DAMAGED = 4, 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m finetune.data.recall", description="Recall replay from corpora.")
    parser.add_argument("--own", type=Path, required=True, help="the rows that are trained on")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="rows that nothing may be like either")
    parser.add_argument("--corpora", type=Path, required=True, help="the directory of registered corpora")
    parser.add_argument("--share", type=float, required=True, help="of all rows that are trained on, by bytes")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the directory that gets rows and report")
    parser.add_argument("--parent", type=int, help="the process that this one must not outlive")
    asked = parser.parse_args()
    if asked.parent is not None:
        die_with(asked.parent)
    wanted = Wanted(asked.own, tuple(asked.beside), asked.share, asked.seed)
    try:
        try:
            report = recall(wanted, asked.corpora, corpora(asked.corpora), asked.out)
        except FileNotFoundError:  # a corpus was removed meanwhile: without it
            report = recall(wanted, asked.corpora, corpora(asked.corpora), asked.out)
    except NoRoom as full:
        sys.stderr.write(f"{full}\n")
        return NO_ROOM
    except CorpusDamaged as damaged:
        sys.stderr.write(f"{damaged}\n")
        return DAMAGED
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
