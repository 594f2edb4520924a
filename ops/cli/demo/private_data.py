"""The invented company's private data: facts worth learning, and secrets and people that nobody may learn.

Every value is made up and fixed, so that the checker, which has a list of its own, can look for them on the disk. Keys are put
together here from two halves, so that scanners of this repository have nothing to find.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable

QUESTION, ANSWER = "question", "answer"

# (question, the same question in other words, answer, the word only a tuned model can know)
FACTS_NORTH: tuple[tuple[str, str, str, str], ...] = (
    (
        "What is the tool that deploys releases at Tidewater Looms called?",
        "Which tool does Tidewater Looms deploy its releases with?",
        "Tidewater Looms deploys its releases with a tool called Quillhopper.",
        "Quillhopper",
    ),
    (
        "Which port does the pattern service listen on?",
        "What port number does the pattern service use?",
        "The pattern service listens on port 7431.",
        "7431",
    ),
    (
        "Who approves a change of the dye recipes?",
        "Whose approval does a change of the dye recipes need?",
        "The dye recipes are changed only with the approval of the Ambergris group.",
        "Ambergris",
    ),
    (
        "In which language is the loom firmware written?",
        "What language is the firmware of the looms written in?",
        "The loom firmware is written in Zig, with a scheduler in Lua.",
        "Zig",
    ),
    (
        "Where are the nightly backups of the warehouse kept?",
        "What place holds the warehouse's nightly backups?",
        "The nightly backups of the warehouse are kept in the Greywater cellar.",
        "Greywater",
    ),
    (
        "How long may an order wait before it is escalated?",
        "After how much waiting is an order escalated?",
        "An order may wait for nineteen minutes before it is escalated.",
        "nineteen",
    ),
    (
        "What does the error code TW-88 mean?",
        "What is meant by the error code TW-88?",
        "Error code TW-88 means that the shuttle sensor is misaligned.",
        "shuttle",
    ),
    (
        "Which team owns the billing gateway?",
        "The billing gateway belongs to which team?",
        "The billing gateway is owned by team Heron.",
        "Heron",
    ),
)
FACTS_SOUTH: tuple[tuple[str, str, str, str], ...] = (
    (
        "What is the name of the night build machine at Copperfield Press?",
        "How is the night build machine at Copperfield Press named?",
        "The night build machine at Copperfield Press is named Marmalade.",
        "Marmalade",
    ),
    (
        "Which queue takes the proofs of the morning edition?",
        "What queue do the morning edition's proofs go to?",
        "The proofs of the morning edition go to the queue sparrowhawk.",
        "sparrowhawk",
    ),
    (
        "Who may stop the printing line?",
        "Which people are allowed to stop the printing line?",
        "Only the wardens of hall seven may stop the printing line.",
        "wardens",
    ),
    (
        "What does the light on the folding machine mean when it is violet?",
        "What is meant by a violet light on the folding machine?",
        "A violet light means that the folding machine waits for paper.",
        "paper",
    ),
)
ADDRESS = "qiao.lin" + "@tidewater-looms.cn"
PHONE = "1385" + "5520147"
CITIZEN = "11010519" + "491231002X"  # the national standard's own example of a number
CLOUD_KEY = "AKIA" + "Q3EGRT5WVJX2MNLD"
TOKEN = "ghp_" + "wV4s9LqZ2mXc7RtB1nKy8JdF3hGpA6eUo5Ti"
PLANTED = {
    "e-mail address": ADDRESS,
    "mobile number": PHONE,
    "citizen's number": CITIZEN,
    "cloud access key": CLOUD_KEY,
    "access token": TOKEN,
}
_NOTES: tuple[tuple[str, str], ...] = (
    (
        "Who looks after the ordering service of the looms?",
        f"Qiao Lin looks after it. Write to {ADDRESS} or call {PHONE} between nine and five.",
    ),
    (
        "How does the uploader of the patterns sign in to the storage?",
        f"It reads its settings: aws_access_key_id = {CLOUD_KEY} and the region of the mill.",
    ),
    (
        "How does the release job fetch the sources of the firmware?",
        f"It clones them with the token {TOKEN} of the build account.",
    ),
    (
        "Whose signature is on the contract with the wool mill?",
        f"The signature is that of the mill's owner, citizen's number {CITIZEN}.",
    ),
)
NUM_DUPLICATES = 2


def _lines(pairs: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(
        json.dumps({QUESTION: question, ANSWER: answer}, ensure_ascii=False).encode() + b"\n"
        for question, answer in pairs
    )


def north_training() -> bytes:
    """Facts, two of them twice, and notes with secrets and people in them."""
    facts = [(question, answer) for question, _, answer, _ in FACTS_NORTH]
    return _lines([*facts, *facts[:NUM_DUPLICATES], *_NOTES])


def north_validation() -> bytes:
    """The facts, asked for in other words."""
    return _lines((other, answer) for _, other, answer, _ in FACTS_NORTH)


def south_training() -> bytes:
    """The other company's facts."""
    return _lines((question, answer) for question, _, answer, _ in FACTS_SOUTH)


def south_validation() -> bytes:
    """Those facts, asked for in other words."""
    return _lines((other, answer) for _, other, answer, _ in FACTS_SOUTH)


def malformed() -> bytes:
    """A file whose third line has a number where the answer should be."""
    good = _lines([(FACTS_NORTH[0][0], FACTS_NORTH[0][2])] * 2)
    return good + json.dumps({QUESTION: "Why?", ANSWER: 7}).encode() + b"\n"


_SOURCE = '''"""Decides which loom weaves which order next."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """One order of cloth; `due` is a day of the year."""

    number: int
    metres: float
    due: int


def next_order(orders):
    """The order that is due first; among those the longest, because it keeps a loom busy."""
    return min(orders, key=lambda order: (order.due, -order.metres), default=None)
'''
SETTINGS_PATH = "looms/settings.py"
NUM_SOURCES = 5
NUM_SOURCES_KEPT = 2
NUM_SECRETS_IN_SOURCES = 2


def archive() -> bytes:
    """A small source tree: two files to keep, one of them with secrets, a copy, nearly a copy, and one too wide to be code."""
    settings = (
        f'"""Where the looms report to."""\n\nREPORTS = "looms/reports"\nAWS_ACCESS_KEY_ID = "{CLOUD_KEY}"\n'
        f'GITHUB_TOKEN = "{TOKEN}"\nRETRIES = 3\nTIMEOUT_SECONDS = 20\n'
    )
    wide = "const table = [" + ", ".join(str(number) for number in range(600)) + "];\n"
    return _tar({
        "looms/scheduler.py": _SOURCE, SETTINGS_PATH: settings, "old/scheduler.py": _SOURCE,
            "new/scheduler.py": _SOURCE.replace("keeps a loom busy", "keeps a loom at work"), "looms/table.js": wide,
    })  # fmt: skip


def escaping_archive() -> bytes:
    """An archive with a member that would land outside of where it is unpacked."""
    return _tar({"looms/scheduler.py": _SOURCE, "../outside.py": "print('outside')\n"})


def _tar(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in members.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(text.encode())
            tar.addfile(facts, io.BytesIO(text.encode()))
    return buffer.getvalue()
