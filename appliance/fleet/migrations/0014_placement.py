"""Which devices a deployment's engines take: a strategy, and the devices that it is pinned to."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0013_rolling_restarts")]

    operations = [
        migrations.AddField(
            "deployment",
            "placement",
            models.CharField(default="pack", editable=False, help_text="which free devices they take", max_length=8),
        ),
        migrations.AddField(
            "deployment",
            "pinned",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=32),
                default=list,
                editable=False,
                help_text="the only devices they may have",
                size=None,
            ),
        ),
        migrations.AddConstraint(
            "deployment",
            models.CheckConstraint(condition=models.Q(("placement__in", ("pack", "spread"))), name="known_placement"),
        ),
    ]
