"""Entries of the audit log are only ever added. Whoever owns the table can still drop the trigger: the chain tells."""

from django.db import migrations

PROTECT = """
CREATE FUNCTION coderack_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the audit log are never changed or removed';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_audit_append_only();
"""

UNDO = """
DROP TRIGGER audit_append_only ON audit_auditentry;
DROP FUNCTION coderack_audit_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunSQL(PROTECT, UNDO)]
