"""Values beside telling names: taken whole, found without quotes, and told apart from code."""

from __future__ import annotations

import pytest

from finetune.data.desensitize.censor import censor


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("DB_PASSWORD=S3cret,Key99xx", "DB_PASSWORD=REDACTED_PASSWORD_1"),
        ("DB_PASSWORD=kHD9FSUu'ErsEz5jh", "DB_PASSWORD=REDACTED_PASSWORD_1"),
        ("run DB_PASSWORD=kHD9FSUu'ErsEz5jh now", "run DB_PASSWORD=REDACTED_PASSWORD_1 now"),
        ("password: abc123<def>456", "password: REDACTED_PASSWORD_1"),
        ("say password: abc123<def>456 here", "say password: REDACTED_PASSWORD_1 here"),
        ("export DB_PASSWORD=ab;12cd,x&9 # a note", "export DB_PASSWORD=REDACTED_PASSWORD_1 # a note"),
        ("密码: abc123456，谢谢", "密码: REDACTED_PASSWORD_1，谢谢"),
        ("Password: abc123xyz</p>", "Password: REDACTED_PASSWORD_1</p>"),
        ("f(password=abc123,x=g(1))", "f(password=REDACTED_PASSWORD_1,x=g(1))"),
        ("    password=abc123, x=g(1))", "    password=REDACTED_PASSWORD_1, x=g(1))"),
        ("The password is abc123xyz.", "The password is REDACTED_PASSWORD_1."),
    ],
)
def test_a_value_is_taken_whole_and_nothing_more(text: str, cleaned: str) -> None:
    assert censor(text) == cleaned


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("TOKEN=a072f6fce8eeaa00ff3400f063a57fe2", "a072f6fce8ee"),
        ("SECRET=tRutlZfOjUStEkUd", "tRutlZfO"),
        ("DB_PASS=EETldq8b8Vw2", "EETldq8b"),
        ('pass = "zbJYAxyL1aCcTl"', "zbJYAxyL"),
        ('password = "my secret 2 pass"', "my secret"),
        ('password="pä55wörd99"', "55w"),
        ('password="abc{x}9secretAA"', "9secret"),
        ('passwd = """multi9line9"""', "multi9"),
        ("CREATE USER a IDENTIFIED BY 'S3cretPass1'", "S3cret"),
        ("ALTER ROLE a WITH PASSWORD 'S3cretPass1'", "S3cret"),
        ("token: abcd-efgh-1-2xyz", "efgh"),
    ],
)
def test_a_value_of_unusual_form_is_found(text: str, secret: str) -> None:
    assert secret not in censor(text)


@pytest.mark.parametrize(
    "text",
    [
        "token = tokenizer_config2",
        "secret = Utf8TokenReader",
        "secret = Config.VALUE_2_NAME",
        "api_key = self.keys2[0]",
        "token=sha256_of(x)",
        "token = base64v123token\nbase64v123token(1)",
        "login(password=user.pass1, x=1)",
        "    pass\n",
        "the elements identified by `selector`",
        "pass: bool = True",
        "passed = 12345678",
        "password: must contain 8 chars",
        'password = "Enter 8 digits"',
        '"password": "at least 8 characters"',
        "token: Optional[Tokenizer2] = None",
        'password = "{first}{second}"',
    ],
)
def test_code_and_prose_stay(text: str) -> None:
    assert censor(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("@Value(${db.password:k9Trout77})", "@Value(${db.password:REDACTED_PASSWORD_1})"),
        ('<string name="db_password">k9Trout77</string>', '<string name="db_password">REDACTED_PASSWORD_1</string>'),
        ("pw = process.env.DB_PASSWORD || 'k9Trout77'", "pw = process.env.DB_PASSWORD || 'REDACTED_PASSWORD_1'"),
        ('source.setPassword("k9Trout77");', 'source.setPassword("REDACTED_PASSWORD_1");'),
        ("- name: DB_PASSWORD\n  value: k9Trout77\n", "- name: DB_PASSWORD\n  value: REDACTED_PASSWORD_1\n"),
        ("| password | `k9Trout77` |", "| password | `REDACTED_PASSWORD_1` |"),
        ('get(url, auth=("ann", "k9Trout77"))', 'get(url, auth=("ann", "REDACTED_PASSWORD_1"))'),
        ("redis-cli -h cache -a k9Trout77 ping", "redis-cli -h cache -a REDACTED_PASSWORD_1 ping"),
        ('HUAWEI_SDK_AK = "QPWMOTRIEYTZ7QQR6MTE"', 'HUAWEI_SDK_AK = "REDACTED_SECRET_1"'),
        ('password = "changeme"', 'password = "changeme"'),
        ("<publicKeyToken>b77a5c561934e089</publicKeyToken>", "<publicKeyToken>b77a5c561934e089</publicKeyToken>"),
        ('form.getPassword("user1name")', 'form.getPassword("user1name")'),
        ("secret = ${SECRET_NAME}", "secret = ${SECRET_NAME}"),
    ],
)
def test_a_value_in_other_places_of_configuration_and_code(text: str, cleaned: str) -> None:
    assert censor(text) == cleaned
