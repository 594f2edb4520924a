"""Other boxes that fine-tune: who works there, their devices, and the mark of the storage that all of them share."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("fleet", "0017_profiles_of_deployments")]

    operations = [
        migrations.CreateModel(
            name="Storage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("storage_id", models.CharField(max_length=32)),
                ("data_dir", models.CharField(max_length=500)),
                (
                    "release",
                    models.CharField(max_length=64, help_text="of the home box; workers elsewhere have the same"),
                ),
            ],
            options={"constraints": [models.CheckConstraint(condition=models.Q(("pk", 1)), name="one_storage")]},
        ),
        migrations.CreateModel(
            name="Box",
            fields=[
                ("name", models.CharField(max_length=20, primary_key=True, serialize=False, verbose_name="name")),
                ("worker", models.CharField(blank=True, max_length=32)),
                ("host", models.CharField(blank=True, max_length=255, verbose_name="machine")),
                (
                    "bases",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=36),
                        default=list,
                        help_text="model versions that it can train",
                        size=None,
                    ),
                ),
                ("lacks", models.TextField(blank=True, verbose_name="lacks")),
                ("since", models.DateTimeField(db_default=Now())),
                ("seen_at", models.DateTimeField(null=True, verbose_name="last seen")),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.AddField(
            model_name="device",
            name="box",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="fleet.box"
            ),
        ),
    ]
