"""Keys that carry their maker's mark. Each pattern's group `v` is the secret.

Betterleaks knows hundreds; here is what it misses (Chinese clouds, chat webhooks) or finds only with enough entropy.
"""

from __future__ import annotations

import codecs
import re
import string
from collections.abc import Iterator

from finetune.data.desensitize.spans import Span, without_escapes

BLANKED = "finetune.data.blanked"


def _blanked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return " " * (error.end - error.start), error.end


codecs.register_error(BLANKED, _blanked)
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
    "slack_app_token": re.compile(WORD + r"(?P<v>xapp-\d-[A-Z0-9]{8,14}-\d{10,15}-[a-f0-9]{64})" + END),
    "google_oauth_secret": re.compile(WORD + r"(?P<v>GOCSPX-[A-Za-z0-9_-]{28})" + END),
    "google_oauth_token": re.compile(WORD + r"(?P<v>ya29\.[A-Za-z0-9_-]{30,1000})"),
    "stripe_webhook_secret": re.compile(WORD + r"(?P<v>whsec_[A-Za-z0-9+/]{24,80}={0,2})" + END),
    "telegram_bot_token": re.compile(WORD + r"(?P<v>\d{8,10}:AA[A-Za-z0-9_-]{33})" + END),
    "digitalocean_token": re.compile(WORD + r"(?P<v>do[opr]_v1_[a-f0-9]{64})" + END),
    "docker_token": re.compile(WORD + r"(?P<v>dckr_[po]at_[A-Za-z0-9_-]{27,40})" + END),
    "huggingface_token": re.compile(WORD + r"(?P<v>(?:hf_|api_org_)[A-Za-z0-9]{34})" + END),
    "sendgrid_key": re.compile(WORD + r"(?P<v>SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64})" + END),
    "azure_client_secret": re.compile(WORD + r"(?P<v>[A-Za-z0-9_.~-]{3}\dQ~[A-Za-z0-9_.~-]{31,34})" + END),
    "npm_token": re.compile(WORD + r"(?P<v>npm_[A-Za-z0-9]{36})" + END),
    "pypi_token": re.compile(WORD + r"(?P<v>pypi-AgE[A-Za-z0-9_-]{50,1000})"),
    "databricks_token": re.compile(WORD + r"(?P<v>dapi[a-f0-9]{32}(?:-\d)?)" + END),
    "json_web_token": re.compile(WORD + r"(?P<v>eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})" + END),
    "webhook": re.compile(
        r"(?:dingtalk\.com/robot/send\?access_token=|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key="
        r"|(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/|hooks\.slack\.com/services/)(?P<v>[A-Za-z0-9/_-]{16,120})"
    ),
}
# All keys are runs of these signs, and none is shorter: their marks are looked for in such runs only.
LONG = b"a" * 15
INSIDE = bytes(
    ord("a") if chr(byte) in string.ascii_letters + string.digits + "_.~+/=:?-" else ord(" ") for byte in range(256)
)
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
    "slack_app_token": ("xapp-",),
    "google_oauth_secret": ("GOCSPX-",),
    "google_oauth_token": ("ya29.",),
    "stripe_webhook_secret": ("whsec_",),
    "telegram_bot_token": (":AA",),
    "digitalocean_token": ("_v1_",),
    "docker_token": ("dckr_",),
    "huggingface_token": ("hf_", "api_org_"),
    "sendgrid_key": ("SG.",),
    "azure_client_secret": ("Q~",),
    "npm_token": ("npm_",),
    "pypi_token": ("pypi-AgE",),
    "databricks_token": ("dapi",),
    "json_web_token": ("eyJ",),
    "webhook": ("access_token=", "send?key=", "/hook/", "hooks.slack.com"),
}


def find(text: str) -> Iterator[Span]:
    """All keys by their shape, possibly overlapping."""
    plain = without_escapes(text)
    runs = _runs(plain)
    words = "\n".join(plain[start:end] for start, end in runs)
    for rule, pattern in KEYS.items():
        if not any(mark in words for mark in MARKS[rule]):
            continue
        for start, end in runs:
            for match in pattern.finditer(plain, start, end):
                yield Span(match.start("v"), match.end("v"), rule, "SECRET", match["v"])


def _runs(text: str) -> list[tuple[int, int]]:
    """Where long words stand. One byte a character: many times quicker to look through than by a pattern."""
    # Beyond ASCII: a sign that is in no key, where the usual question mark is in some.
    shape = text.encode("ascii", BLANKED).translate(INSIDE)
    runs: list[tuple[int, int]] = []
    start = shape.find(LONG)
    while start >= 0:
        end = shape.find(b" ", start)
        end = len(shape) if end < 0 else end
        runs.append((start, end))
        start = shape.find(LONG, end)
    return runs
