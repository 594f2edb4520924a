"""Adapters merged into their base where engines can't apply them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0003_aliases"),
    ]

    operations = [
        migrations.CreateModel(
            name="MergedModel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.TextField(blank=True)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("retry_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "adapter",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="merged", to="registry.adapter"
                    ),
                ),
                (
                    "version",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="merged",
                        to="registry.modelversion",
                    ),
                ),
            ],
        ),
    ]
