"""What an engine's log says about its end. The excerpts are vLLM 0.32's own, shortened."""

from inference.pool.log_tail import last_words

VALIDATION = """\
(APIServer pid=9) INFO 11-22 21:05:37 [api_utils.py:286] non-default args: {}
Traceback (most recent call last):
  File "/slot/vllm/engine/arg_utils.py", line 2838, in create_engine_config
    config = VllmConfig(
pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig
  Value error, Expecting ',' delimiter: line 1 column 993 (char 992) [type=value_error]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""
ENGINE_CORE = """\
(EngineCore pid=7) ERROR 11-22 20:58:04 [core.py:1203] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-22 20:58:04 [core.py:1203]   File "/slot/vllm/v1/core.py", line 1, in run
(EngineCore pid=7) ERROR 11-22 20:58:04 [core.py:1203] torch.OutOfMemoryError: not enough memory
(APIServer pid=5) Traceback (most recent call last):
(APIServer pid=5)   File "/slot/vllm/api_server.py", line 59, in <module>
(APIServer pid=5) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def words(tmp_path, text):
    log = tmp_path / "log"
    log.write_text(text)
    return last_words(log).splitlines()


def test_it_puts_the_exception_and_its_detail_first(tmp_path):
    first, *_, last = words(tmp_path, VALIDATION)
    assert first.startswith(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig Value error,"
    )
    assert "errors.pydantic.dev" in last


def test_it_prefers_the_cause_to_what_points_at_it(tmp_path):
    assert words(tmp_path, ENGINE_CORE)[0] == "torch.OutOfMemoryError: not enough memory"


def test_it_knows_a_refused_command_line(tmp_path):
    assert words(tmp_path, "usage: x\napi_server.py: error: unrecognized arguments: --foo\n")[0].endswith("--foo")


def test_it_shows_the_last_twenty_lines_where_there_is_no_exception(tmp_path):
    lines = [f"line {number}" for number in range(50)]
    assert words(tmp_path, "\n".join(lines)) == lines[-20:]


def test_it_reads_only_the_end_of_a_huge_log(tmp_path):
    assert words(tmp_path, "x" * 2_000_000 + "\nend")[-1] == "end"


def test_it_has_nothing_to_say_without_a_log(tmp_path):
    assert last_words(tmp_path / "none") == ""
