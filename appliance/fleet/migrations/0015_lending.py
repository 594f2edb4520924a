"""Devices lent to fine-tunes: what a deployment allows, a replica's loan, the fine-tunes that wait for a device."""

from django.db import migrations, models

DROP = "DROP TRIGGER directory_changed ON fleet_replica;"
TRIGGER = """
CREATE TRIGGER directory_changed AFTER INSERT OR DELETE OR UPDATE OF {columns} ON fleet_replica
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
"""
BEFORE = DROP + TRIGGER.format(columns="state, life_id")
AFTER = DROP + TRIGGER.format(columns="state, life_id, lent_to, lent, asked_back")


class Migration(migrations.Migration):
    dependencies = [("fleet", "0014_placement")]

    operations = [
        migrations.AddField(
            "deployment",
            "lends",
            models.BooleanField(default=False, editable=False, help_text="its devices may be lent to fine-tunes"),
        ),
        migrations.AddField(
            "deployment",
            "min_serving",
            models.PositiveSmallIntegerField(default=1, editable=False, help_text="replicas that are never lent"),
        ),
        migrations.AddField(
            "deployment",
            "lend_window",
            models.CharField(
                blank=True, default="", editable=False, help_text="22:00-06:00; empty: at any time", max_length=11
            ),
        ),
        migrations.AddField(
            "replica",
            "lent_to",
            models.CharField(
                blank=True, default="", help_text="the fine-tune that gets, or has, its devices", max_length=40
            ),
        ),
        migrations.AddField(
            "replica", "lent", models.BooleanField(default=False, help_text="the fine-tune owns its devices")
        ),
        migrations.AddField(
            "replica",
            "asked_back",
            models.BooleanField(default=False, help_text="it gives them back at its next checkpoint"),
        ),
        migrations.AddConstraint(
            "replica",
            models.CheckConstraint(
                condition=models.Q(("asked_back", False), ("lent", False), ("lent_to", ""))
                | ~models.Q(("lent_to", "")),
                name="lent_to_somebody",
            ),
        ),
        migrations.CreateModel(
            "DeviceWish",
            fields=[
                ("job_id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("since", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
            ],
            options={"ordering": ("since", "job_id")},
        ),
        migrations.RunSQL(AFTER, BEFORE),
    ]
