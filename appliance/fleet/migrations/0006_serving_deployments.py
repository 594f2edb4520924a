"""Which of a name's running deployments serves it, and the latencies of samples."""

from django.db import migrations, models
from django.db.models import F, OuterRef, Subquery


def name_them(apps, schema_editor):  # type: ignore[no-untyped-def]
    """A deployment's name is its model's."""
    deployments, models_ = apps.get_model("fleet", "Deployment"), apps.get_model("registry", "ModelVersion")
    deployments.objects.update(name=Subquery(models_.objects.filter(pk=OuterRef("model_id")).values("name")[:1]))


def serve_one(apps, schema_editor):  # type: ignore[no-untyped-def]
    """Of each name's deployments the newest running one serves."""
    deployments = apps.get_model("fleet", "Deployment")
    newest = deployments.objects.filter(name=OuterRef("name"), running=True).order_by("-created_at").values("pk")[:1]
    deployments.objects.filter(running=True).annotate(newest=Subquery(newest)).exclude(newest=F("pk")).update(
        serves=False
    )


class Migration(migrations.Migration):
    dependencies = [("fleet", "0005_owners_of_replicas")]
    operations = [
        migrations.AddField("deployment", "name", models.CharField(default="", editable=False, help_text="the model's, that tenants use", max_length=200, verbose_name="name"), preserve_default=False),
        migrations.AddField("deployment", "serves", models.BooleanField(default=True, verbose_name="serves its name")),
        migrations.RunPython(name_them, migrations.RunPython.noop),
        migrations.RunPython(serve_one, migrations.RunPython.noop),
        *(
            migrations.AddField("sample", name, models.FloatField(null=True))
            for name in ("ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "tpot_p99_ms")
        ),
    ]  # fmt: skip
