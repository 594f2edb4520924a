"""`python -m finetune.merge --spec spec.json [--parent PID]`, with a slot's Python: one JSON line says what came of it.

Exit status: 0 merged, 1 not; 76 the parent was gone at the start.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from finetune.train.parent import die_with

parser = argparse.ArgumentParser(prog="finetune.merge", description="Merge an adapter into its base model.")
parser.add_argument("--spec", type=Path, required=True)
parser.add_argument("--parent", type=int, help="end with this process, which must be the one that started us")
arguments = parser.parse_args()
if arguments.parent is not None:
    die_with(arguments.parent)

from finetune.merge.errors import MergeError  # noqa: E402 - nothing may come before the line above
from finetune.train.events import EventWriter  # noqa: E402

lines = EventWriter()
logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
try:
    from finetune.merge.build import MergeSpec, build

    merged = build(MergeSpec.of(json.loads(arguments.spec.read_bytes())))
except MergeError as error:
    logging.error("%s: %s", error.code, error)
    lines.write(error=error.code, message=str(error))
    sys.exit(1)
except OSError as error:
    logging.exception("the merge failed")
    lines.write(error="merge_failed", message=f"{error.strerror or error}: {error.filename or ''}")
    sys.exit(1)
lines.write(digest=merged.digest)
