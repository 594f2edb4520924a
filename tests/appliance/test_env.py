"""The settings from the environment: what is read, what is refused, and that every fault is told at once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.env import SOCKET_PATH_MAX_BYTES, VARIABLES, Env, EnvError, default_run_dir, load, secret_key

NAMES = [v.name for v in VARIABLES]
SECRETS = [v.name for v in VARIABLES if v.secret]
HOST_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
# What the kernel lets into an environment: no NUL, no lone surrogates.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


def test_it_needs_no_variable_at_all() -> None:
    env = load({})
    assert (env.host, env.port, env.base_url) == ("127.0.0.1", 8080, "http://127.0.0.1:8080")
    assert env.data_dir == env.cache_dir
    assert env.run_dir == default_run_dir(env.data_dir)
    assert env.debug is False
    assert env.database_url is env.redis_url is None


def test_it_ignores_variables_of_others() -> None:
    assert load({"PATH": "/bin", "HOME": "/nowhere", "PORT": "not ours"}) == load({})


def test_it_takes_an_empty_variable_for_an_unset_one() -> None:
    assert load(dict.fromkeys(NAMES, "")) == load({})


def test_it_refuses_an_unknown_name_with_its_prefix() -> None:
    with pytest.raises(EnvError, match="CODERACK_PROT: no such setting"):
        load({"CODERACK_PROT": "8080"})


def test_it_names_all_faults_in_one_message() -> None:
    wrong = {
        "CODERACK_PROT": "8080",
        "CODERACK_PORT": "eighty",
        "CODERACK_DATA_DIR": "relative/place",
        "CODERACK_DEBUG": "perhaps",
        "CODERACK_DEVICES": "tpu",
        "CODERACK_GATEWAY_WORKERS": "0",
        "CODERACK_LOG_LEVEL": "chatty",
        "CODERACK_BASE_URL": "ftp://models.example",
        "DATABASE_URL": "mysql://models.example/coderack",
        "REDIS_URL": "memcached://models.example",
        "CODERACK_SECRET_KEY": "one",
        "CODERACK_SECRET_KEY_FILE": "/other",
    }
    with pytest.raises(EnvError) as refusal:
        load(wrong)
    told = str(refusal.value).splitlines()[1:]
    assert len(told) == 11, told
    for name in wrong:
        assert any(name in line for line in told), name


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CODERACK_PORT", "0", "between 1 and 65535"),
        ("CODERACK_PORT", "65536", "between 1 and 65535"),
        ("CODERACK_PORT", "80.5", "whole number"),
        ("CODERACK_DATA_DIR", "var", "absolute path"),
        ("CODERACK_DEBUG", "2", "true, false"),
        ("CODERACK_DEVICES", "cpu:0", "cpu:N"),
        ("CODERACK_DEVICES", "cpu:65", "cpu:N"),
        ("CODERACK_ENGINE_FLAVOUR", "rocm", "auto, cpu, cuda, ascend"),
        ("CODERACK_ALLOWED_HOSTS", " , ", "at least one host"),
        ("CODERACK_MAX_BODY_BYTES", "1023", "between 1024"),
        ("CODERACK_FIM_TARGET_MS", "9", "between 10"),
        ("CODERACK_UNWANTED_LICENCES", "GPL-2.0,copyleft", "copyleft: neither a family (public_domain, permissive"),
    ],
)
def test_it_says_what_a_value_must_be(name: str, value: str, reason: str) -> None:
    with pytest.raises(EnvError, match=name) as refusal:
        load({name: value})
    assert reason in str(refusal.value)


@pytest.mark.parametrize("name", SECRETS)
def test_it_reads_a_secret_from_the_file_that_is_named(name: str, tmp_path: Path) -> None:
    value = {"REDIS_URL": "redis://models.example", "CODERACK_SECRET_KEY": "s3cret"}.get(
        name, "postgresql://models.example/db"
    )
    path = tmp_path / "secret"
    path.write_text(f"{value}\n")
    assert load({f"{name}_FILE": str(path)}) == load({name: value})


@pytest.mark.parametrize("name", SECRETS)
def test_it_refuses_a_secret_given_twice(name: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("anything")
    with pytest.raises(EnvError, match=f"{name} and {name}_FILE are both set"):
        load({name: "redis:postgresql:", f"{name}_FILE": str(path)})


def test_it_says_which_secret_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"DATABASE_URL_FILE: .*No such file"):
        load({"DATABASE_URL_FILE": str(tmp_path / "missing")})


def test_it_has_no_file_variant_for_what_is_no_secret() -> None:
    with pytest.raises(EnvError, match="CODERACK_PORT_FILE: no such setting"):
        load({"CODERACK_PORT_FILE": "/etc/port"})


def test_it_never_prints_a_secret_value() -> None:
    with pytest.raises(EnvError) as refusal:
        load({"DATABASE_URL": "mysql://app:hunter2@models.example/db"})
    assert "hunter2" not in str(refusal.value)


def test_it_refuses_a_run_directory_too_long_for_a_socket() -> None:
    with pytest.raises(EnvError, match="too long for Unix sockets"):
        load({"CODERACK_RUN_DIR": "/" + "r" * SOCKET_PATH_MAX_BYTES})


def test_it_keeps_the_default_run_directory_short_for_any_data_directory() -> None:
    env = load({"CODERACK_DATA_DIR": "/" + "d" * 400})
    assert len(f"{env.run_dir}/replicas/00000000.sock") <= SOCKET_PATH_MAX_BYTES


def test_it_gives_two_data_directories_two_run_directories() -> None:
    assert default_run_dir(Path("/a")) != default_run_dir(Path("/b"))


def test_it_names_the_loopback_address_where_the_gateway_listens_everywhere() -> None:
    assert load({"CODERACK_HOST": "0.0.0.0", "CODERACK_PORT": "9000"}).base_url == "http://127.0.0.1:9000"


def test_it_answers_to_the_host_of_the_base_url() -> None:
    env = load({"CODERACK_BASE_URL": "https://models.example/"})
    assert env.base_url == "https://models.example"
    assert "models.example" in env.allowed_hosts


def test_it_reads_embedded_servers_through_their_sockets_and_roles() -> None:
    env = load({"CODERACK_RUN_DIR": "/tmp/coderack-here"})
    assert env.database_dsn() == "postgresql://coderack@/coderack?host=/tmp/coderack-here/pg"
    assert env.gateway_dsn() == "postgresql://coderack_gateway@/coderack?host=/tmp/coderack-here/pg"
    assert env.redis_dsn() == "unix:///tmp/coderack-here/redis.sock?db=0"


def test_it_prefers_the_operators_servers() -> None:
    own = {"DATABASE_URL": "postgresql://app@db.example/coderack", "REDIS_URL": "rediss://cache.example/0"}
    env = load(own)
    assert (env.database_dsn(), env.gateway_dsn(), env.redis_dsn()) == (
        own["DATABASE_URL"],
        own["DATABASE_URL"],
        own["REDIS_URL"],
    )
    reader = "postgresql://reader@db.example/coderack"
    assert load(own | {"CODERACK_GATEWAY_DATABASE_URL": reader}).gateway_dsn() == reader


@given(
    port=st.integers(1, 65535),
    workers=st.integers(1, 64),
    body=st.integers(1024, 64 << 20),
    debug=st.sampled_from(
        [("1", True), ("TRUE", True), ("Yes", True), ("on", True), ("0", False), ("False", False), ("no", False)]
    ),
    devices=st.one_of(st.sampled_from(["auto", "nvidia"]), st.integers(1, 64).map(lambda n: f"cpu:{n}")),
    hosts=st.lists(HOST_NAMES, min_size=1, max_size=5),
    directory=st.from_regex(r"(/[A-Za-z0-9._-]{1,30}){1,5}", fullmatch=True),
    secret=st.from_regex(r"\S{1,60}", fullmatch=True).filter(lambda s: "\0" not in s),
)
def test_it_reads_back_every_value_that_was_written(
    *,
    port: int,
    workers: int,
    body: int,
    debug: tuple[str, bool],
    devices: str,
    hosts: list[str],
    directory: str,
    secret: str,
) -> None:
    env = load({
        "CODERACK_PORT": str(port), "CODERACK_GATEWAY_WORKERS": str(workers), "CODERACK_MAX_BODY_BYTES": str(body),
        "CODERACK_DEBUG": debug[0], "CODERACK_DEVICES": devices, "CODERACK_ALLOWED_HOSTS": " , ".join(hosts),
        "CODERACK_DATA_DIR": directory, "CODERACK_SECRET_KEY": secret,
    })  # fmt: skip
    assert (env.port, env.gateway_workers, env.max_body_bytes) == (port, workers, body)
    assert (env.debug, env.devices, env.allowed_hosts) == (debug[1], devices, tuple(hosts))
    assert (env.data_dir, env.secret_key) == (Path(directory), secret)


@given(st.dictionaries(st.sampled_from(NAMES), TEXT))
def test_it_either_reads_an_environment_or_refuses_it_by_name(environment: dict[str, str]) -> None:
    try:
        env = load(environment)
    except EnvError as refusal:
        assert any(name in str(refusal) for name in environment)  # noqa: PT017 - either ending is right
    else:
        assert isinstance(env, Env)
        assert 1 <= env.port <= 65535


def test_it_makes_a_secret_key_once_and_keeps_it_private(tmp_path: Path) -> None:
    env = load({"CODERACK_DATA_DIR": str(tmp_path / "data")})
    first = secret_key(env)
    assert len(first) >= 43  # 32 random bytes or more
    assert secret_key(env) == first
    kept = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert os.listdir(kept.parent) == ["secret_key"]


def test_it_prefers_the_secret_key_of_the_operator(tmp_path: Path) -> None:
    env = load({"CODERACK_DATA_DIR": str(tmp_path), "CODERACK_SECRET_KEY": "given"})
    assert secret_key(env) == "given"
    assert not list(tmp_path.iterdir())
