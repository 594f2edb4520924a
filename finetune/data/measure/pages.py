"""Whole files with labelled values in them, from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from finetune.data.measure import authors, fixed, negatives, people
from finetune.data.measure.draw import Draw
from finetune.data.measure.passwords import CONNECTIONS, password
from finetune.data.measure.surroundings import EMAIL_LINES, LANGUAGES, PASSWORD_LINES, Language, fill, named

EITHER = "either"
PASSWORD_NAMES = (
    "password", "password", "password", "passwd", "pwd", "db_password", "smtp_password", "admin_password", "redis_password",
    "mysql_root_password", "user_passwd", "client_secret", "jwt_secret", "secret_key", "api_key", "auth_token", "access_token",
    "api_secret", "login_pwd", "keystore_password",
)  # fmt: skip
PERSONAL: tuple[tuple[str, tuple[str, ...], Callable[[Draw], str]], ...] = (
    ("e-mail", ("email", "contact", "mail_to", "reviewer"), people.email),
    ("IP", ("host", "server_ip", "bind_address", "allowed", "peer"), people.ip),
    ("phone", ("phone", "mobile", "tel", "contact_phone"), people.phone),
    ("resident ID", ("id_card", "id_number", "identity_no", "holder"), people.resident_id),
    ("bank card", ("card_no", "bank_card", "account_number", "pan"), people.bank_card),
    ("company code", ("credit_code", "tax_no", "company_code"), people.company_code),
)


@dataclass(frozen=True)
class Label:
    """`text[start:end]` is a value of this class, or of `either`: it may be taken and may be left."""

    start: int
    end: int
    kind: str
    form: str


@dataclass
class Page:
    """One file, growing block by block."""

    path: str
    text: str = ""
    labels: list[Label] = field(default_factory=list)

    def add(self, template: str, value: str = "", kind: str = "", form: str = "") -> None:
        """Append the template with the value in place of its first `<V>`; without a kind the value is a negative."""
        before, _, after = template.partition("<V>")
        start = len(self.text) + len(before)
        if kind and kind != EITHER:
            self.labels.append(Label(start, start + len(value), kind, form or kind))
        elif kind:
            self.labels.append(Label(start, start + len(value), EITHER, EITHER))
        self.text += before + value + after.replace("<V>", value)


def pages(seed: int, count: int) -> Iterator[Page]:
    """`count` files of all kinds in turn, about five labelled values in each."""
    kinds = list(LANGUAGES)
    for number in range(count):
        draw = Draw(f"{seed}/{number}")
        kind = kinds[number % len(kinds)]
        yield _page(draw, kind, f"{draw.word()}/{draw.name()}_{number}{LANGUAGES[kind].ending}")


def _page(draw: Draw, kind: str, path: str) -> Page:
    language, page = LANGUAGES[kind], Page(path)
    for text, what, form in authors.header(Draw(f"{path} header"), kind):  # chance of its own: the rest stays as it was
        page.add("<V>", text, {"name": "names", "either": EITHER}.get(what, ""), form)
    page.add(fill(language.opening, draw))
    values = (_vendor, _vendor, _chinese, _connection, _beside_name, _password, _password, _personal, _personal, _rare)
    blocks: list[Callable[[Draw, str, Language, Page], None]] = [draw.one(values) for _ in range(5)]
    blocks += [_negative, _negative, _negative, _negative_line, _negative_line, _stand_in, _either] + [_filler] * 8
    for block in draw.shuffled(blocks):
        block(draw, kind, language, page)
    page.add(language.closing)
    return page


def _filler(draw: Draw, kind: str, language: Language, page: Page) -> None:
    page.add(fill(draw.one(language.filler), draw))


def _free(draw: Draw, language: Language) -> str:
    return fill(draw.one((*language.free, *language.comment)), draw)


def _beside(draw: Draw, language: Language, name: str) -> str:
    return fill(draw.one(language.named), draw).replace("<K>", named(name, language.naming))


def _shaped(draw: Draw, language: Language, names: tuple[str, ...]) -> str:
    return _beside(draw, language, draw.one(names)) if draw.chance(0.5) else _free(draw, language)


def _vendor(draw: Draw, kind: str, language: Language, page: Page) -> None:
    form = draw.one(list(fixed.VENDOR))
    template = _shaped(draw, language, ("token", "api_key", "credential", "key_id", "hook_url"))
    _add_key(page, template, fixed.VENDOR[form](draw), "vendor keys", form)


def _chinese(draw: Draw, kind: str, language: Language, page: Page) -> None:
    form = draw.one(list(fixed.CHINESE))
    template = _shaped(draw, language, ("access_key_id", "secret_id", "api_key", "robot", "notify_url"))
    _add_key(page, template, fixed.CHINESE[form](draw), "Chinese clouds", form)


def _add_key(page: Page, template: str, value: str, kind: str, form: str) -> None:
    """Of a webhook's address the last part is the secret."""
    address = fixed.HOOK.match(value)
    before, _, after = template.partition("<V>")
    page.add(before)
    page.add("<V>", address[0] if address else "", EITHER)
    page.add("<V>", value.removeprefix(address[0]) if address else value, kind, form)
    page.add(after)


def _beside_name(draw: Draw, kind: str, language: Language, page: Page) -> None:
    form, names, make = draw.one(fixed.NAMED)
    page.add(_beside(draw, language, draw.one(names)), make(draw), "keys known by name", form)


def _connection(draw: Draw, kind: str, language: Language, page: Page) -> None:
    shape = draw.one(CONNECTIONS)
    head, tail = fill(shape, draw).split("<V>")
    template = _shaped(draw, language, ("database_url", "dsn", "url", "broker"))
    before, _, after = template.partition("<V>")
    if kind == "xml":
        head, tail = head.replace("&", "&amp;"), tail.replace("&", "&amp;")
    page.add(before)
    page.add("<V>", head, EITHER)
    page.add("<V>", password(draw, plain=True), "connection strings", shape.split("<")[0])
    page.add("<V>", tail, EITHER)
    page.add(after)


def _password(draw: Draw, kind: str, language: Language, page: Page) -> None:
    if kind in PASSWORD_LINES and draw.chance(0.2):
        template = fill(draw.one(PASSWORD_LINES[kind]), draw)
        form = "without a name beside it"
    else:
        name = draw.one(PASSWORD_NAMES)
        template, form = _beside(draw, language, name), name
    if template.startswith("    if "):
        page.add("def " + fill("<N>(user, password):\n", draw))
    page.add(template, password(draw, plain=language.plain), "passwords", form)


def _personal(draw: Draw, kind: str, language: Language, page: Page) -> None:
    what, names, make = draw.one(PERSONAL[:4] if draw.chance(0.7) else PERSONAL)
    template = _shaped(draw, language, names)
    if what == "e-mail" and kind in EMAIL_LINES and draw.chance(0.4):
        template = fill(draw.one(EMAIL_LINES[kind]), draw)
    page.add(template, make(draw), what)


def _rare(draw: Draw, kind: str, language: Language, page: Page) -> None:
    if draw.chance(0.5):
        page.add(_shaped(draw, language, ("token", "jwt", "authorization")), fixed.jwt(draw), "JWT")
        return
    key = fixed.pem(draw)
    if kind == "yaml":
        page.add("  tls.key: |\n    <V>\n", key.replace("\n", "\n    "), "private keys")
    elif kind in ("json", "java", "javascript"):
        page.add(_beside(draw, language, "private_key"), key.replace("\n", "\\n"), "private keys")
    elif kind == "python":
        page.add(draw.one(('KEY = """<V>"""\n', 'KEY = b"""\\\n<V>\n"""\n')), key, "private keys")
    elif kind == "shell":
        page.add("cat > id_rsa <<'EOF'\n<V>\nEOF\n", key, "private keys")
    else:
        page.add("<V>\n" if kind != "go" else "const key = `<V>`\n", key, "private keys")


def _negative(draw: Draw, kind: str, language: Language, page: Page) -> None:
    page.add(_free(draw, language), draw.one(negatives.VALUES)(draw))


def _negative_line(draw: Draw, kind: str, language: Language, page: Page) -> None:
    page.add(fill(draw.one(negatives.LINES[kind]), draw))


def _stand_in(draw: Draw, kind: str, language: Language, page: Page) -> None:
    page.add(_beside(draw, language, draw.one(PASSWORD_NAMES)), draw.one(negatives.STAND_INS))


def _either(draw: Draw, kind: str, language: Language, page: Page) -> None:
    page.add(_free(draw, language), draw.one(negatives.EITHER)(draw), EITHER)
