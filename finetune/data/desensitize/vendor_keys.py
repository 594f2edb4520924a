"""Keys that carry their maker's mark, and private key blocks. Each pattern's group `v` is the secret.

Betterleaks knows hundreds; here is what it misses (Chinese clouds, chat webhooks) or finds only with enough entropy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from finetune.data.desensitize.spans import Span, without_escapes

WORD = r"(?<![A-Za-z0-9_])"
END = r"(?![A-Za-z0-9_])"

KEYS: dict[str, re.Pattern[str]] = {
    "aliyun_access_key": re.compile(WORD + r"(?P<v>LTAI[A-Za-z0-9]{12,30})" + END),
    "tencent_secret_id": re.compile(WORD + r"(?P<v>AKID[A-Za-z0-9]{13,44})" + END),
    "volcengine_access_key": re.compile(WORD + r"(?P<v>AKLT[A-Za-z0-9_-]{16,60})" + END),
    "baidu_access_key": re.compile(WORD + r"(?P<v>ALTAK[A-Za-z0-9-]{16,40})" + END),
    "aws_access_key": re.compile(WORD + r"(?P<v>(?:AKIA|ASIA)[A-Z0-9]{16})" + END),
    "github_token": re.compile(WORD + r"(?P<v>gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{60,90})" + END),
    "gitlab_token": re.compile(WORD + r"(?P<v>gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{20,60})" + END),
    "model_api_key": re.compile(WORD + r"(?P<v>sk-(?:[a-z]{2,8}-)?[A-Za-z0-9_-]{20,200})" + END),
    "stripe_key": re.compile(WORD + r"(?P<v>[rs]k_(?:live|test)_[A-Za-z0-9]{16,120})" + END),
    "google_api_key": re.compile(WORD + r"(?P<v>AIza[A-Za-z0-9_-]{35})" + END),
    "slack_token": re.compile(WORD + r"(?P<v>xox[abeoprs]-[A-Za-z0-9-]{10,250})" + END),
    "json_web_token": re.compile(WORD + r"(?P<v>eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})" + END),
    "webhook": re.compile(
        r"(?:dingtalk\.com/robot/send\?access_token=|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key="
        r"|(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/|hooks\.slack\.com/services/)(?P<v>[A-Za-z0-9/_-]{16,120})"
    ),
}
# What a text must contain for the pattern to be worth trying: far faster than trying it.
MARKS: dict[str, tuple[str, ...]] = {
    "aliyun_access_key": ("LTAI",),
    "tencent_secret_id": ("AKID",),
    "volcengine_access_key": ("AKLT",),
    "baidu_access_key": ("ALTAK",),
    "aws_access_key": ("AKIA", "ASIA"),
    "github_token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "gitlab_token": ("glpat-", "glptt-", "gldt-", "glrt-"),
    "model_api_key": ("sk-",),
    "stripe_key": ("k_live_", "k_test_"),
    "google_api_key": ("AIza",),
    "slack_token": ("xox",),
    "json_web_token": ("eyJ",),
    "webhook": ("access_token=", "send?key=", "/hook/", "hooks.slack.com"),
}
# From the first line over base64 in whatever wrapping (quotes, escapes, comment marks) to the last line, which may be cut off.
PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:\\[nrt]|[\s\"'`+,#*>|.:;()-]){0,80}+(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash)\b[^\n]{0,120}"
    r"|[A-Za-z0-9+/=]{1,5000}+)){1,2000}?"
    r"(?:(?:\\[nrt]|[\s\"'`+,#*>|.:;()]){0,80}-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)"
)
# A key cut off before its last line: the first line and all lines of nothing but base64 after it.
CUT_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:\\[nrt]|[\s\"'+#*]){1,80}[A-Za-z0-9+/=]{32,5000}+){1,2000}+"
)
FIRST_LINE = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY")
MIN_KEY_CHARACTERS = 60
KEY_RUN = re.compile(r"[A-Za-z0-9+/=]{24,}")


def find(text: str) -> Iterator[Span]:
    """All keys by their shape, possibly overlapping."""
    plain = without_escapes(text)
    for rule, pattern in KEYS.items():
        if not any(mark in plain for mark in MARKS[rule]):
            continue
        for match in pattern.finditer(plain):
            yield Span(match.start("v"), match.end("v"), rule, "SECRET", match["v"])
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)


def _private_keys(text: str) -> Iterator[Span]:
    starts = [match.start() for match in FIRST_LINE.finditer(text)]
    # A key ends before the next begins: without that bound, marks without keys take quadratic time.
    for start, stop in pairwise([*starts, len(text)]):
        for pattern in (PRIVATE_KEY, CUT_KEY):
            match = pattern.match(text, start, stop)
            # Code that handles keys names both marks too, but has no long base64 between them.
            if match and sum(map(len, KEY_RUN.findall(match[0]))) >= MIN_KEY_CHARACTERS:
                yield Span(match.start(), match.end(), "private_key", "PRIVATE_KEY", match[0])
