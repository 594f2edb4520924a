"""The `coderack demo` command. What it needs is imported when it runs: the openai client alone takes a second."""

from __future__ import annotations

from appliance.env import load
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, progress_aside, show_done, show_json
from ops.runner.runner import runner_pid


def demo(as_json: AsJson = False) -> None:
    """Walk through the appliance's life with real requests and a real fine-tune; it must be running."""
    env = load()
    if runner_pid(env.run_dir) is None and env.database_url is None:
        raise fail("the appliance is not running: `make start` first", Exit.NOT_RUNNING)
    with rows(), progress_aside(as_json):
        from ops.cli.demo.run import walk_through  # noqa: PLC0415 - after Django's setup

        fault = walk_through(env)
    report = env.data_dir / "demo" / "report.json"
    if fault is not None:
        if as_json:
            show_json({"ok": False, "report": report, "logs": env.log_dir, "fault": fault})
        raise fail(f"FAIL  {fault}\n      report: {report}\n      logs: {env.log_dir}")
    show_done({"ok": True, "report": report, "logs": env.log_dir, "fault": None}, as_json, f"PASS  {report}")
