"""Passwords as people and generators choose them, and connection strings that carry one."""

from __future__ import annotations

from collections.abc import Callable

from finetune.data.measure.draw import ALNUM, HEX, PEOPLE, Draw

SYMBOLS = "!@#$%^&*-_+=?."
# Symbols that mean nothing in URLs, shells, YAML, XML and properties.
PLAIN_SYMBOLS = "-_."


def _human(draw: Draw, symbols: str) -> str:
    word = draw.one((draw.word(), draw.one(PEOPLE) + draw.one(PEOPLE)))
    word = draw.one((word.title(), word, word.replace("a", "4").replace("e", "3").title()))
    ending = draw.one((str(draw.number(1970, 2026)), str(draw.number(1, 999)), "123", "2024"))
    return f"{word}{draw.one((*symbols, ''))}{ending}{draw.one((*symbols, '', '', ''))}"


def _random(draw: Draw, symbols: str) -> str:
    return draw.chars(ALNUM + symbols, draw.number(8, 24)) + draw.chars(ALNUM, 1)


def _phrase(draw: Draw, symbols: str) -> str:
    return draw.one("-_.").join(draw.word() for _ in range(draw.number(3, 4))) + str(draw.number(0, 99))


MAKERS: tuple[Callable[[Draw, str], str], ...] = (_human, _human, _human, _random, _random, _random, _phrase)


def password(draw: Draw, plain: bool = False) -> str:
    """One in twenty is a bare word, one in ten hexadecimal; others mix letters, digits and symbols."""
    if draw.chance(0.05):
        return draw.one(PEOPLE) + draw.word()
    if draw.chance(0.1):
        return draw.chars(HEX, draw.one((16, 24, 32)))
    symbols = PLAIN_SYMBOLS if plain or draw.chance(0.3) else SYMBOLS
    made = draw.one(MAKERS)(draw, symbols)
    # No quoting needed at the beginning, whatever the language.
    return made if made[0].isalnum() else draw.one(ALNUM) + made


# <V> is the password, <H> a host, <N> a name, <P> a port.
CONNECTIONS = (
    "postgresql://<N>:<V>@<H>:5432/<N>", "postgres://<N>:<V>@<H>/<N>?sslmode=require",
    "postgresql+psycopg2://<N>:<V>@<H>:5432/<N>", "mysql://<N>:<V>@<H>:3306/<N>",
    "mysql+pymysql://<N>:<V>@<H>/<N>?charset=utf8mb4", "mongodb://<N>:<V>@<H>:27017/<N>?authSource=admin",
    "mongodb+srv://<N>:<V>@<H>/<N>?retryWrites=true", "redis://:<V>@<H>:6379/0", "rediss://default:<V>@<H>:6380/1",
    "amqp://<N>:<V>@<H>:5672/<N>", "amqps://<N>:<V>@<H>/<N>", "https://<N>:<V>@<H>/api/v1/<N>",
    "http://<N>:<V>@<H>:8080/", "ftp://<N>:<V>@<H>/<N>.csv", "clickhouse://<N>:<V>@<H>:9000/<N>",
    "jdbc:postgresql://<H>:5432/<N>?user=<N>&password=<V>", "jdbc:mysql://<H>:3306/<N>?user=<N>&password=<V>",
    "jdbc:sqlserver://<H>:1433;databaseName=<N>;user=<N>;password=<V>;encrypt=true",
    "Server=<H>;Database=<N>;User Id=<N>;Password=<V>;TrustServerCertificate=True",
    "Server=<H>;Port=3306;Uid=<N>;Pwd=<V>;", "host=<H> port=5432 dbname=<N> user=<N> password=<V>",
    "smtp://<N>:<V>@<H>:587", "https://oauth2:<V>@<H>/<N>/<N>.git",
)  # fmt: skip
