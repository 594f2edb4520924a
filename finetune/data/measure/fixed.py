"""Keys and tokens with a documented shape, after their providers' public descriptions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping

from finetune.data.measure.draw import ALNUM, BASE64, HEX, LOWER, UPPER, URLSAFE, Draw

Make = Callable[[Draw], str]
HOOK = re.compile(r"https://[^?]*(?:/services/|/hook/|\?\w+=)")
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _after(prefix: str, alphabet: str, length: int) -> Make:
    return lambda draw: prefix + draw.chars(alphabet, length)


def _uuid(draw: Draw) -> str:
    digits = draw.chars(HEX, 32)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _slack_bot(draw: Draw) -> str:
    parts = (str(draw.number(10**11, 10**12)), str(draw.number(10**11, 10**13)), draw.chars(ALNUM, 24))
    return "-".join((draw.one(("xoxb", "xoxb", "xoxp")), *parts))


def _slack_app(draw: Draw) -> str:
    return f"xapp-1-A{draw.chars(UPPER, 10)}-{draw.number(10**12, 10**13)}-{draw.chars(HEX, 64)}"


def _slack_hook(draw: Draw) -> str:
    ids = f"T{draw.chars(UPPER, 10)}/B{draw.chars(UPPER, 10)}"
    return f"https://hooks.slack.com/services/{ids}/{draw.chars(ALNUM, 24)}"


def _openai_old(draw: Draw) -> str:
    return f"sk-{draw.chars(ALNUM, 20)}T3BlbkFJ{draw.chars(ALNUM, 20)}"


def _openai_project(draw: Draw) -> str:
    return f"sk-proj-{draw.chars(URLSAFE, 74)}T3BlbkFJ{draw.chars(URLSAFE, 73)}A"


def _pypi(draw: Draw) -> str:
    inner = b"\x02\x01\x08pypi\x2eorg\x02$" + _uuid(draw).encode() + b"\x00\x00\x06 " + draw.raw(32) + draw.raw(40)
    return "pypi-" + base64.urlsafe_b64encode(inner).decode().rstrip("=")


def jwt(draw: Draw) -> str:
    """RFC 7519, signed with HS256 or RS256."""
    head = {"alg": draw.one(("HS256", "RS256")), "typ": "JWT"}
    body = {"sub": str(draw.number(1, 10**9)), "name": draw.name(), "iat": draw.number(1_600_000_000, 1_750_000_000)}
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (head, body)]
    signature = draw.raw(32 if head["alg"] == "HS256" else 256)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature))


def pem(draw: Draw) -> str:
    """A private key as RFC 7468 writes it: the right envelope around bytes that are no real key."""
    kind, size = draw.one(
        (("RSA PRIVATE KEY", 1190), ("PRIVATE KEY", 1217), ("EC PRIVATE KEY", 121), ("OPENSSH PRIVATE KEY", 399))
    )
    start = b"openssh-key-v1\x00" if kind.startswith("OPENSSH") else b"\x30\x82" + size.to_bytes(2, "big") + b"\x02\x01"
    body = base64.b64encode(start + draw.raw(size - len(start))).decode()
    width = 70 if kind.startswith("OPENSSH") else 64
    lines = [body[at : at + width] for at in range(0, len(body), width)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"])


VENDOR: Mapping[str, Make] = {
    "AWS access key id": lambda draw: draw.one(("AKIA", "AKIA", "ASIA")) + draw.chars(BASE32, 16),
    "GitHub token": lambda draw: draw.one(("ghp_", "gho_", "ghu_", "ghs_", "ghr_")) + draw.chars(ALNUM, 36),
    "GitHub fine-grained token": lambda draw: f"github_pat_{draw.chars(ALNUM, 22)}_{draw.chars(ALNUM, 59)}",
    "GitLab access token": _after("glpat-", URLSAFE, 20),
    "GitLab runner token": _after("glrt-", URLSAFE, 20),
    "GitLab trigger token": _after("glptt-", HEX, 40),
    "Slack token": _slack_bot,
    "Slack app token": _slack_app,
    "Slack webhook": _slack_hook,
    "Stripe key": lambda draw: draw.one(("sk_live_", "rk_live_", "sk_test_")) + draw.chars(ALNUM, draw.one((24, 99))),
    "Stripe webhook secret": _after("whsec_", ALNUM, 32),
    "OpenAI key": _openai_old,
    "OpenAI project key": _openai_project,
    "Anthropic key": lambda draw: f"sk-ant-api03-{draw.chars(URLSAFE, 93)}AA",
    "Google API key": _after("AIza", URLSAFE, 35),
    "Google OAuth secret": _after("GOCSPX-", URLSAFE, 28),
    "Google OAuth token": lambda draw: "ya29.a0" + draw.chars(URLSAFE, draw.number(120, 200)),
    "Azure client secret": lambda draw: (
        f"{draw.chars(ALNUM, 3)}8Q~{draw.chars(ALNUM + '-_.~', 33)}{draw.chars(ALNUM, 1)}"
    ),
    "npm token": _after("npm_", ALNUM, 36),
    "PyPI token": _pypi,
    "SendGrid key": lambda draw: f"SG.{draw.chars(URLSAFE, 22)}.{draw.chars(URLSAFE, 43)}",
    "Telegram bot token": lambda draw: f"{draw.number(10**9, 10**10 - 1)}:AA{draw.chars(URLSAFE, 33)}",
    "Hugging Face token": lambda draw: "hf_" + draw.chars(ALNUM[:52], 34),
    "DigitalOcean token": _after("dop_v1_", HEX, 64),
    "Shopify token": _after("shpat_", HEX, 32),
    "Docker Hub token": _after("dckr_pat_", URLSAFE, 27),
    "Databricks token": _after("dapi", HEX, 32),
    "Linear key": _after("lin_api_", ALNUM, 40),
}
CHINESE: Mapping[str, Make] = {
    "Alibaba Cloud AccessKey ID": _after("LTAI5t", ALNUM, 18),
    "Alibaba Cloud AccessKey ID, old": _after("LTAI", ALNUM, 12),
    "Tencent Cloud SecretId": _after("AKID", ALNUM, 32),
    "DeepSeek or DashScope key": _after("sk-", HEX, 32),
    "Moonshot key": _after("sk-", ALNUM, 48),
    "DingTalk robot": lambda draw: "https://oapi.dingtalk.com/robot/send?access_token=" + draw.chars(HEX, 64),
    "WeCom robot": lambda draw: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=" + _uuid(draw),
    "Feishu robot": lambda draw: "https://open.feishu.cn/open-apis/bot/v2/hook/" + _uuid(draw),
}
# Without a shape of their own: known by the name beside them, which their consoles and SDKs use.
NAMED: tuple[tuple[str, tuple[str, ...], Make], ...] = (
    ("AWS secret access key", ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "secretAccessKey"), _after("", BASE64, 40)),
    ("Azure storage key", ("AccountKey", "AZURE_STORAGE_KEY"), lambda d: base64.b64encode(d.raw(64)).decode()),
    ("Alibaba Cloud secret", ("access_key_secret", "accessKeySecret", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"), _after("", ALNUM, 30)),
    ("Tencent Cloud SecretKey", ("secret_key", "SecretKey", "TENCENTCLOUD_SECRET_KEY"), _after("", ALNUM, 32)),
    ("Huawei Cloud AK", ("HUAWEICLOUD_SDK_AK", "hw_access_key", "accessKey"), _after("", UPPER, 20)),
    ("Huawei Cloud SK", ("HUAWEICLOUD_SDK_SK", "hw_secret_key", "sk"), _after("", ALNUM, 40)),
    ("Baidu AI Cloud AK", ("BCE_ACCESS_KEY_ID", "access_key_id", "baidu_api_key"), _after("", HEX, 32)),
    ("Baidu AI Cloud SK", ("BCE_SECRET_ACCESS_KEY", "secret_access_key", "baidu_secret_key"), _after("", HEX, 32)),
    ("WeChat AppSecret", ("app_secret", "appSecret", "WECHAT_APP_SECRET"), _after("", HEX, 32)),
    ("Zhipu key", ("zhipu_api_key", "ZHIPUAI_API_KEY"), lambda d: f"{d.chars(HEX, 32)}.{d.chars(ALNUM, 16)}"),
    ("Qiniu secret", ("QINIU_SECRET_KEY", "qiniuSecretKey"), _after("", URLSAFE, 40)),
    ("Pusher secret", ("pusher_secret", "PUSHER_APP_SECRET"), _after("", LOWER[:6] + "0123456789", 20)),
)  # fmt: skip
