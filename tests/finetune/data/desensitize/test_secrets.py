"""Secrets: what is found by its shape, by its neighbours, by Betterleaks, everywhere in a data set, and what is left alone."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.desensitize import scanner
from finetune.data.desensitize.censor import censor
from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders
from finetune.data.desensitize.spans import Span, without_overlaps
from finetune.data.python_syntax import parses

TOKEN = "ghp_1234567890abcdefghijABCDEFGHIJ123456"
BODY = (
    "MIIEpAIBAAKCAQEA7bq8c4Kk1dOq8jQkM0S2f5p1Q3wq2H2bTq2bQkM0S2f5p1Q3\n"
    "wq2H2bTq2bQkM0S2f5p1Q3wq2H2bTq2bQkM0S2f5p1Q3wq2H2bTq2bQkM0S2f5p1"
)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"


def clean_all(*texts: str) -> list[str]:
    cleaner = Cleaner(Placeholders(b"key"))
    list(cleaner.learn(enumerate((text,) for text in texts)))
    return [cleaner.clean(number, text).text for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('a = "LTAI5tKjdhfgKJHGkjh23kjh"', "LTAI5tKjdhfgKJHGkjh23kjh"),
        ('a = "\\nLTAI5tKjdhfgKJHGkjh23kjh"', "LTAI5tKjdhfgKJHGkjh23kjh"),
        ("SecretId: AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA", "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"),
        ("k = 'AKIAIOSFODNN7EXAMPLE'", "AKIAIOSFODNN7EXAMPLE"),
        (f"密钥{TOKEN}密钥", TOKEN),
        ('x = "sk_live_4eC39HqLyjWDarjtT1zdp7dcAbCdEf12"', "sk_live_4eC39HqLyjWDarjtT1zdp7dcAbCdEf12"),
        ("sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa", "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef0123456789abcdef", "0123456789abcdef"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        ('password = "hunter2hunter2"', "hunter2hunter2"),
        ("password: str = 'S3cret!pass'", "S3cret!pass"),
        ('"db_password" : "p\\"q\\\\rst"', 'p\\"q'),
        ('os.environ["PASSWORD"] = "correcthorse"', "correcthorse"),
        ('{"code": "password = \\"geheim123\\""}', "geheim123"),
        ('setProperty("password", "geheim123")', "geheim123"),
        ("DB_PASSWORD=geheim123", "geheim123"),
        ("数据库密码是geheim123。", "geheim123"),
        ("<password>geheim123</password>", "geheim123"),
        ('<property name="jdbc.password" value="geheim"/>', "geheim"),
        ('secretKey = "aB3dE5fG7hI9"', "aB3dE5fG7hI9"),
        ("postgres://bob:s3cr3t@Pass@db.internal/x", "s3cr3t@Pass"),
        ("redis://:geheim@10.0.0.1:6379/0", "geheim"),
        ("jdbc:mysql://h/db?user=root&password=geheim&x=1", "geheim"),
        ("Server=h;Pwd=geheim;", "geheim"),
        ("Authorization: Basic YWRtaW46YWRtaW4xMjM0NTY=", "YWRtaW46"),
        ("curl -s -u admin:geheim http://h", "geheim"),
        ("mysql -uroot -pgeheim123 db", "geheim123"),
        (PEM, BODY[:40]),
        (PEM.replace("RSA ", ""), BODY[:40]),
        (PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"), BODY[:40]),
        ("# " + PEM.replace("\n", "\n# "), BODY[:40]),
        (PEM.split("-----END", maxsplit=1)[0], BODY[70:100]),
        ('k = "' + PEM.replace("\n", "\\n") + '"', BODY[:40]),
        (PEM.replace("KEY-----\nM", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A\n\nM"), BODY[:40]),
    ],
)
def test_a_secret_is_replaced(text: str, secret: str) -> None:
    assert secret in text
    cleaned = censor(text)
    assert secret not in cleaned
    assert "REDACTED_" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password()",
        "self.password = self.config.password",
        'password = os.environ["DB_PASSWORD"]',
        'PASSWORD_FIELD = "password"',
        '"password": "${DB_PASSWORD}"',
        'password = "{password}"',
        'password = "********"',
        "password: str",
        'label_password = "请输入密码"',
        'token = "identifier"',
        'fields = ("usable_password", "password1", "password2")',
        "token_type = 'Bearer'",
        "api_key = settings.KEY1",
        "sha1 = 'da39a3ee5e6b4b0d3255bfef95601890afd80709'",
        "id = '123e4567-e89b-12d3-a456-426614174000'",
        "def tokenize(text): return text.split()",
        "http://localhost:8000/a@b",
        'if line == "-----BEGIN PRIVATE KEY-----": return read(line, end="-----END PRIVATE KEY-----")',
        "password = REDACTED_PASSWORD_1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert censor(text) == text


@pytest.mark.parametrize("mark", ["gitleaks:allow", "betterleaks:allow", "GitLeaks:allow"])
def test_a_comment_can_not_hide_a_secret_from_the_scanner(mark: str) -> None:
    slack = "https://discord.com/api/webhooks/1/x"  # noise around it
    text = f'{slack}\nkey = "npm_{"a1B2c3D4e5F6" * 3}"  # {mark}'
    assert [found.value for found in scanner.scan([text])] == [f"npm_{'a1B2c3D4e5F6' * 3}"]
    assert mark in censor(text)


def test_an_encoded_secret_is_replaced_with_its_encoding() -> None:
    encoded = base64.b64encode(f"token {TOKEN} end".encode()).decode()
    assert censor(f'x = "{encoded}"') == 'x = "REDACTED_SECRET_1"'
    twice = base64.b64encode(encoded.encode()).decode()
    assert twice not in censor(f'x = "{twice}"')


def test_findings_are_told_apart_by_text_even_with_many_lines() -> None:
    texts = ["a\n\nb", "", f"x\n{TOKEN}", "c", f"{TOKEN[:-1]}7"]
    found = {(item.index, item.value) for item in scanner.scan(texts)}
    assert found == {(2, TOKEN), (4, f"{TOKEN[:-1]}7")}


def test_a_secret_seen_once_is_replaced_everywhere_by_the_same_name() -> None:
    first, second, third = clean_all('print("tr0ub4dor99")', 'password = "tr0ub4dor99"', "xtr0ub4dor99x tr0ub4dor99")
    assert first == 'print("REDACTED_PASSWORD_1")'
    assert second == 'password = "REDACTED_PASSWORD_1"'
    assert third == "xtr0ub4dor99x REDACTED_PASSWORD_1"


def test_a_password_that_is_a_common_word_is_replaced_in_its_place_only() -> None:
    assert clean_all("the administrator", 'password = "administrator"') == [
        "the administrator",
        'password = "REDACTED_PASSWORD_1"',
    ]


def test_overlapping_findings_become_one_that_covers_both() -> None:
    text = "0123456789"
    spans = [
        Span(2, 5, "a", "A", "234"),
        Span(4, 8, "b", "B", "4567"),
        Span(2, 4, "c", "C", "23"),
        Span(8, 9, "d", "D", "8"),
    ]
    assert without_overlaps(text, spans) == [Span(2, 8, "a", "A", "234567"), Span(8, 9, "d", "D", "8")]
    cleaned = censor(f'password = "x{TOKEN}y"')
    assert cleaned.count("REDACTED_") == 1
    assert TOKEN not in cleaned


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=12))
def test_merged_spans_never_overlap_and_cover_everything(places: list[tuple[int, int]]) -> None:
    text = "x" * 50
    spans = [Span(start, start + size, "r", "K", "k") for start, size in places]
    merged = without_overlaps(text, spans)
    assert all(one.end <= two.start for one, two in pairwise(merged))
    covered = {index for span in merged for index in range(span.start, span.end)}
    assert covered == {index for span in spans for index in range(span.start, span.end)}


WORDS = st.text(st.sampled_from("aB1 \n\t\"'=:@.-+/\\(){}中#"), max_size=12)
SECRETS = st.sampled_from(
    [TOKEN, "LTAI5tKjdhfgKJHGkjh23kjh", "bob.smith@corp.cn", "13812345678", "11010519491231002X", PEM]
)


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, SECRETS), min_size=1, max_size=4))
def test_cleaning_again_finds_nothing_more_of_what_was_taken_out(parts: list[tuple[str, str]]) -> None:
    text = "".join(f"{before} {secret} " for before, secret in parts)
    cleaned = censor(text)
    assert all(secret not in cleaned for _, secret in parts)


LITERALS = st.sampled_from(
    [repr(TOKEN), f'"""{PEM}"""', repr(PEM), '"bob@corp.cn"', "13812345678", "4111111111111111", 'f"{x}13812345678"',
     "b'10.1.2.3'",
     '"\\n13812345678"', '"\\x4113812345678"', '"postgres://u:p4ss@h/d"', repr("\tann@corp.cn"), "'a' 'AKIAIOSFODNN7EXAMPLE'"]
)  # fmt: skip
NAMES = st.sampled_from(["x", "password", "api_key", "self.token", "D['secret']", "phone: str", "a.b"])


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, LITERALS), min_size=1, max_size=6))
def test_python_that_parsed_before_parses_after(assignments: list[tuple[str, str]]) -> None:
    source = "".join(f"{name} = {literal}\n" for name, literal in assignments)
    assert parses(source)
    assert parses(censor(source))


@pytest.mark.parametrize("text", ["# a PRIVATE KEY follows\n", "MARK = 'BEGIN PRIVATE KEY'\n", f"PRIVATE KEY\n{PEM}\n"])
def test_a_text_that_only_speaks_of_private_keys_is_read_like_any_other(text: str) -> None:
    assert clean_all(text) == [text.replace(PEM, "REDACTED_PRIVATE_KEY_1")]
