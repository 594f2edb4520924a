"""The guide: set-up that can be pasted, with this box's address and the tenant's models."""

from __future__ import annotations

import html
import re
import tomllib

import yaml

from appliance.fleet.models import Deployment
from tests.appliance.console.cast import Cast


def snippet(cast: Cast, name: str) -> str:
    page = cast.client("developer").get("/guide/", headers={"Host": "localhost"}).content.decode()
    found = re.search(rf'<pre id="{name}"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found, name
    return html.unescape(found.group(1))


def test_it_is_valid_set_up_with_the_tenants_model(cast: Cast, deployment: Deployment) -> None:
    for name in ("curl", "python", "continue", "cline", "tabby"):
        assert "tiny-coder" in snippet(cast, name)
    assert "http://localhost/v1" in snippet(cast, "cline")
    models = yaml.safe_load(snippet(cast, "continue"))["models"]
    assert [model["roles"] for model in models] == [["chat", "edit", "apply"]]
    assert set(tomllib.loads(snippet(cast, "tabby"))["model"]) == {"chat"}


def test_it_adds_completion_where_a_model_fills_in_the_middle(cast: Cast, deployment: Deployment) -> None:
    deployment.model.fim = True
    deployment.model.save()
    complete = yaml.safe_load(snippet(cast, "continue"))["models"][1]
    assert (complete["provider"], complete["apiBase"]) == ("deepseek", "http://localhost/")
    template = tomllib.loads(snippet(cast, "tabby"))["model"]["completion"]["http"]["prompt_template"]
    assert template == "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>"


def test_it_survives_a_model_name_that_means_something_in_yaml(cast: Cast, deployment: Deployment) -> None:
    Deployment.objects.update(name='a: "b" # c')
    assert yaml.safe_load(snippet(cast, "continue"))["models"][0]["model"] == 'a: "b" # c'
    assert tomllib.loads(snippet(cast, "tabby"))["model"]["chat"]["http"]["model_name"] == 'a: "b" # c'


def test_it_shows_the_way_where_nothing_is_served(cast: Cast) -> None:
    page = cast.client("owner").get("/guide/").content.decode()
    assert "No model that this tenant may use is deployed" in page
    assert "/tenants/acme/keys/" in page
