"""`python -m ops.cli.demo_check [REPORT]`: the checker as a program of its own."""

import typer

from ops.cli.demo_check.command import demo_check

typer.run(demo_check)
