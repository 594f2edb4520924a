"""An older engine's slot: it gets no flag that its vLLM does not know."""

import pytest

from inference.engines.vllm_release import takes_buckets


@pytest.mark.parametrize(("source", "takes"), [(None, True), ("custom_histogram_buckets = None", True), ("", False)])
def test_the_slots_own_sources_say_whether_it_takes_buckets(tmp_path, source, takes):
    if source is not None:
        folder = tmp_path / "lib/python3.11/site-packages/vllm/engine"
        folder.mkdir(parents=True)
        (folder / "arg_utils.py").write_text(source)
    assert takes_buckets(tmp_path / "bin" / "python") is takes
