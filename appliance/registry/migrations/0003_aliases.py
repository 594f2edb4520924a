"""Tenants' own names for models, and their place among what the gateway reads."""

import django.db.models.deletion
from django.db import migrations, models

VIEW = """
CREATE VIEW gateway_aliases AS
SELECT a.tenant_id::text AS tenant_id, a.name::text AS name, floor(extract(epoch FROM a.created_at))::bigint AS created,
       a.target::text AS target, a.canary::text AS canary, a.share::int AS share
FROM registry_alias a;

CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON registry_alias
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        GRANT SELECT ON gateway_aliases TO coderack_gateway;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'coderack_gateway was granted nothing: this database user may not';
END $$;
"""
UNDO = "DROP TRIGGER directory_changed ON registry_alias; DROP VIEW gateway_aliases;"


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0002_gateway_directory"),
        ("registry", "0002_adapters_and_training"),
        ("tenants", "0006_shared_limits"),
    ]

    operations = [
        migrations.CreateModel(
            name="Alias",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                ("target", models.CharField(max_length=200, verbose_name="stands for")),
                ("canary", models.CharField(blank=True, max_length=200, verbose_name="canary")),
                (
                    "share",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="percent of its requests for the canary", verbose_name="share"
                    ),
                ),
                ("canary_since", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="aliases",
                        to="tenants.tenant",
                        verbose_name="tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("tenant_id", "name"),
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "name"), name="one_alias_per_name"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("canary", ""), ("share", 0)),
                            models.Q(("share__gte", 1), ("share__lte", 50), models.Q(("canary", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="alias_share_goes_with_a_canary",
                    ),
                ],
            },
        ),
        migrations.RunSQL(VIEW, UNDO),
    ]
