import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_needs_signoff"), ("training", "0003_erasures")]

    operations = [
        migrations.CreateModel(
            name="Signoff",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("report_digest", models.CharField(max_length=64, verbose_name="digest of the report")),
                ("comment", models.TextField(blank=True, verbose_name="comment")),
                ("at", models.DateTimeField(auto_now_add=True, verbose_name="signed off")),
                ("revoked_at", models.DateTimeField(null=True, verbose_name="taken back")),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="signoffs", to="training.storedfile"
                    ),
                ),
                (
                    "jobs",
                    models.ManyToManyField(
                        help_text="the fine-tunes that went on by it", related_name="signoffs", to="training.job"
                    ),
                ),
                (
                    "revoked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ("-at",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("revoked_at", None)),
                        fields=("file", "report_digest"),
                        name="one_standing_signoff",
                    )
                ],
            },
        ),
    ]
