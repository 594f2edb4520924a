"""The training tests' cast, and a way around the table's own protection, for those who play the forger."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from tests.appliance.training.conftest import cast, files_dir

__all__ = ["cast", "files_dir"]


@pytest.fixture
def forge(db: None) -> Callable[[str], None]:
    """Run a statement on the log as the table's owner can: with the trigger switched off."""

    def run(statement: str) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_append_only")
            cursor.execute(statement)
            cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER audit_append_only")

    return run
