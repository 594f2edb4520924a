"""`python -m finetune.train --spec spec.json [--parent PID]`, with a slot's Python."""

import argparse
import sys
from pathlib import Path

from finetune.train.parent import die_with

parser = argparse.ArgumentParser(prog="finetune.train", description="Train an adapter as a specification says.")
parser.add_argument("--spec", type=Path, required=True)
parser.add_argument("--parent", type=int, help="end with this process, which must be the one that started us")
arguments = parser.parse_args()
if arguments.parent is not None:
    die_with(arguments.parent)

from finetune.train.main import run  # noqa: E402 - nothing may come before the line above

sys.exit(run(arguments.spec))
