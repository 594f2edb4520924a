"""The facts of a running appliance: the private file, what is printed, and that the printed line can be pasted."""

from __future__ import annotations

import json
import shlex
import stat

from appliance.env import Env, load
from appliance.login import FirstLogin
from ops.cli.ready import announcement, curl_line, facts, write_facts
from ops.cli.surroundings import prepare_directories

LOGIN = FirstLogin(operator="operator", password="pa'ss", api_key="sk-coderack-abc")


def test_it_keeps_the_facts_readable_by_their_owner_only(env: Env) -> None:
    prepare_directories(env)
    write_facts(env, facts(env, LOGIN, ["demo"]))
    assert stat.S_IMODE(env.ready_file.stat().st_mode) == 0o600
    assert json.loads(env.ready_file.read_text()) == {
        "base_url": f"http://127.0.0.1:{env.port}/v1",
        "console_url": f"http://127.0.0.1:{env.port}",
        "api_key": LOGIN.api_key,
        "models": ["demo"],
        "operator": {"name": "operator", "password": "pa'ss"},
    }
    assert [p.name for p in env.data_dir.iterdir() if p.is_file()] == ["ready.json"]


def test_it_names_one_origin_for_the_api_and_the_console() -> None:
    values = facts(load({"CODERACK_BASE_URL": "https://models.example"}), LOGIN, [])
    assert values["base_url"] == values["console_url"] + "/v1"


def test_it_prints_everything_a_first_user_needs(env: Env) -> None:
    values = facts(env, LOGIN, ["demo"])
    text = announcement(values)
    for needed in (values["base_url"], values["console_url"], "operator", "pa'ss", LOGIN.api_key, "demo", "curl -N "):
        assert needed in text


def test_it_prints_a_line_that_a_shell_takes(env: Env) -> None:
    words = shlex.split(curl_line(facts(env, LOGIN, ["demo"])))
    assert words[:2] == ["curl", "-N"]
    body = json.loads(words[-1])
    assert (body["model"], body["stream"]) == ("demo", True)


def test_it_says_less_without_a_demo_model(env: Env) -> None:
    text = announcement(facts(env, None, []))
    assert "curl" not in text
    assert "Operator" not in text
