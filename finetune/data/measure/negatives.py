"""What looks like a secret or like personal data and is neither."""

from __future__ import annotations

import base64
from collections.abc import Callable

from finetune.data.measure.draw import ALNUM, BASE64, HEX, Draw
from finetune.data.measure.people import bank_card, company_code, resident_id


def _uuid(draw: Draw) -> str:
    digits = draw.chars(HEX, 32)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-9{digits[17:20]}-{digits[20:]}"


def _integrity(draw: Draw) -> str:
    return "sha512-" + base64.b64encode(draw.raw(64)).decode()


def _image(draw: Draw) -> str:
    return "data:image/png;base64,iVBORw0KGgo" + draw.chars(BASE64, 4 * draw.number(20, 120) + 1) + "=="


def _version(draw: Draw) -> str:
    return ".".join(str(draw.number(0, 30)) for _ in range(4))


# Values for any place of a file.
VALUES: tuple[Callable[[Draw], str], ...] = (
    _uuid, _integrity, _image,
    lambda d: d.chars(HEX, 40), lambda d: d.chars(HEX, 64), lambda d: d.chars(HEX, 32), lambda d: "sha256:" + d.chars(HEX, 64),
    lambda d: f"2024-{d.number(10, 12)}-{d.number(10, 28)}T{d.number(10, 23)}:{d.number(10, 59)}:{d.number(10, 59)}.{d.number(100, 999)}Z",
    lambda d: str(d.number(1_600_000_000_000, 1_750_000_000_000)), lambda d: str(d.number(1_600_000_000, 1_750_000_000)),
    lambda d: resident_id(d, right=False), lambda d: bank_card(d, right=False).replace(" ", ""), lambda d: company_code(d, right=False),
    lambda d: f"ORD{d.number(10**11, 10**12)}", lambda d: f"{d.word()}@{d.number(1, 9)}.{d.number(0, 30)}.{d.number(0, 30)}",
    lambda d: f"{d.word()}@{d.one(('2x', '3x'))}.png", lambda d: f"{d.word()}@sha256:{d.chars(HEX, 64)}",
    lambda d: ":".join(d.chars(HEX, 2) for _ in range(6)), lambda d: f"{d.number(10, 23)}:{d.number(10, 59)}:{d.number(10, 59)}",
    lambda d: f"v{_version(d)}", lambda d: f"1.3.6.1.4.1.{d.number(100, 60000)}", lambda d: f"3.{d.chars('0123456789', 15)}",
    lambda d: "127.0.0.1", lambda d: "0.0.0.0", lambda d: "255.255.255.0", lambda d: "::1",  # noqa: S104 - a text, bound to nothing
    lambda d: f"{d.word()}-{d.word()}-{d.word()}", lambda d: f"arn:aws:s3:::{d.word()}-{d.word()}", lambda d: f"#{d.chars(HEX, 6)}",
    lambda d: f"com.{d.word()}.{d.word()}.{d.word().title()}", lambda d: "0x" + d.chars(HEX, 16), lambda d: f"/{d.word()}/{d.name()}/{d.word()}",
    lambda d: f"ISBN 978-{d.number(0, 9)}-{d.number(100, 999)}-{d.number(10000, 99999)}-{d.number(0, 9)}",
    lambda d: f"Mozilla/5.0 Chrome/{d.number(80, 130)}.0.{d.number(3000, 6000)}.{d.number(10, 200)} Safari/537.36",
    lambda d: f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{d.chars(ALNUM, 43)}", lambda d: f"pk_live_{d.chars(ALNUM, 24)}",
    lambda d: f"{d.number(1, 99)}.{d.number(100000, 999999)},{d.number(1, 99)}.{d.number(100000, 999999)}",
)  # fmt: skip

# Stand-ins that a name for a secret may have as its value.
STAND_INS = (
    "changeme", "${DB_PASSWORD}", "your_password_here", "xxxxxxxx", "<password>", "********", "{{ vault_password }}", "$PASSWORD",
    "%(password)s", "YOUR_API_KEY", "placeholder", "TODO", "null", "REPLACE_ME", "password", "secret", "none", "example", "", "...",
)  # fmt: skip

LINES = {
    "python": (
        "password = None\n", "password = getpass.getpass()\n", 'password = os.environ["DB_PASSWORD"]\n', 'token = request.headers["X-Token"]\n',
        "def login(user: str, password: str) -> bool:\n    return check(user, password)\n\n\n", "PASSWORD_MIN_LENGTH = 12\n",
        'raise ValueError("Password must be at least 8 characters")\n', "password_hash = hash_password(password)\n",
        "token = tokens[index + 1]\n", 'parser.add_argument("--password", help="the password of the account")\n',
        'fields = ["username", "password", "remember_me"]\n', "secret = secrets.token_urlsafe(32)\n", "rest = values[::2]\n",
        'PASSWORD_FIELD = "password_field"\n', 'self.api_key = api_key or config.get("api_key")\n', "pwd = os.getcwd()\n",
        'authors_key = "author_name"\n', "@app.route('/password/reset')\ndef <N>():\n    pass\n\n\n", 'TOKEN_TYPE = "bearer_token"\n',
        'message = "Wrong password, please try again"\n', 'primary_key = "customer_id"\n', 'EMAIL = re.compile(r"[^@]+@[^@]+\\.[^@]+")\n',
    ),
    "java": (
        "    private String password;\n", "    public String getPassword() { return this.password; }\n", '    @JsonProperty("password")\n',
        '        String password = request.getParameter("password");\n', "        this.accessToken = tokenService.issue(user);\n",
        '    static final String PASSWORD_KEY = "user.password.key";\n', "        builder.password(properties.getPassword());\n",
    ),
    "go": (
        '\tPassword string `json:"password"`\n', '\tpassword := os.Getenv("DB_PASSWORD")\n', "\ttoken := lexer.NextToken()\n",
        '\treturn errors.New("invalid password")\n', "\tapiKey := cfg.APIKey\n",
    ),
    "javascript": (
        "const password = req.body.password;\n", "  password: process.env.DB_PASSWORD,\n", "  <input type='password' name='password' />\n",
        "const token = await getToken(user);\n", "  passwordLabel: 'Enter your password',\n", "const { apiKey, secret } = config;\n",
    ),
    "yaml": (
        "  password:\n    type: string\n    format: password\n", "  valueFrom:\n    secretKeyRef:\n      name: <W>\n      key: password\n",
        "  password: ${{ secrets.DB_PASSWORD }}\n", "  password: !vault <N>\n", "  tokenizer: <N>\n", "  secretName: <W>-tls\n",
    ),
    "env": ("DB_PASSWORD=\n", "DB_PASSWORD=${SECRET}\n", "PASSWORD_FILE=/run/secrets/db_password\n", "TOKEN_TTL=3600\n"),
    "properties": ("spring.datasource.password=${DB_PASSWORD}\n", "password.min.length=8\n", "token.expiry=86400\n"),
    "xml": ('  <input type="password" name="password"/>\n', "  <password>${db.password}</password>\n", "  <publicKeyToken>b77a5c561934e089</publicKeyToken>\n"),
    "json": ('  "password": {"type": "string"},\n', '  "secret": null,\n', '  "tokens": 4096,\n', '  "required": ["email", "password"],\n'),
    "shell": ("read -s PASSWORD\n", 'mysql -u root -p"$MYSQL_PASSWORD"\n', "export TOKEN=$(vault read -field=token secret/<W>)\n", "echo $PASSWORD | docker login\n"),
    "toml": ('password = { env = "DB_PASSWORD" }\n', "token_limit = <D>\n"),
    "markdown": ("The password is stored as a hash.\n", "Set your password, then your API key, under *Settings*.\n", "Token: an opaque string.\n"),
}  # fmt: skip
# Right either way: nobody is hurt when they are taken, nobody should rely on it.
EITHER: tuple[Callable[[Draw], str], ...] = (
    lambda d: f"{d.word()}@example.{d.one(('com', 'org'))}", lambda d: f"git@github.com:{d.word()}/{d.word()}.git",
    lambda d: f"10.{d.number(0, 255)}.{d.number(0, 255)}.{d.number(1, 254)}", lambda d: f"192.168.{d.number(0, 255)}.{d.number(1, 254)}",
    lambda d: f"192.0.2.{d.number(1, 254)}", lambda d: f"fe80::{d.chars(HEX[1:], 4)}", lambda d: f"noreply@{d.word()}.com",
    lambda d: "AKIAIOSFODNN7EXAMPLE", lambda d: f"2001:db8::{d.chars(HEX[1:], 4)}",
)  # fmt: skip
