"""An npu-smi that prints recorded outputs: a script on disk that the device code starts as it would the real one.

Which file answers which question stands in a table; `hang` makes it sleep, a status makes it fail.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RECORDED = Path(__file__).parent.parent / "inference" / "devices" / "npu_smi"

_SCRIPT = """#!{python} -IS
import json, os, sys, time
answers = json.load(open({table!r}))
asked = " ".join(sys.argv[1:])
with open({calls!r}, "a") as calls:
    calls.write(asked + "\\n")
answer = answers.get(asked) or next((answers[key] for key in answers if key != "info" and asked.startswith(key)), None)
if answer is None:
    sys.exit("unknown: " + asked)
if answer == "hang":
    print("half an answer", flush=True)
    time.sleep(600)
if answer == "flood":
    while True:
        print("x" * 65536)
if isinstance(answer, int):
    print("dcmi model initialized failed, because the device is used. ret is -8020")
    sys.exit(answer)
sys.stdout.write(answer)
"""


def recorded(name: str) -> str:
    """A recorded output, without the line that names its source."""
    source, _, text = (RECORDED / name).read_text().partition("\n")
    assert source.startswith("# "), name
    return text


class FakeNpuSmi:
    """`answers`: by the arguments, or their beginning, what is printed; `hang`, `flood`, or an exit status."""

    def __init__(self, folder: Path, answers: dict[str, str | int]) -> None:
        self.path = folder / "npu-smi"
        self._table, self._calls = folder / "answers.json", folder / "calls"
        self.answer(answers)
        script = _SCRIPT.format(python=sys.executable, table=str(self._table), calls=str(self._calls))
        self.path.write_text(script)
        self.path.chmod(0o755)

    def answer(self, answers: dict[str, str | int]) -> None:
        """From now on it says this."""
        fresh = self._table.with_suffix(".new")
        fresh.write_text(json.dumps(answers))
        fresh.replace(self._table)

    def calls(self) -> list[str]:
        """What it was asked so far."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []
