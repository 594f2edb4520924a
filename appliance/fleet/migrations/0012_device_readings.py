"""What a device draws, its links, and the processes on it that are not ours."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0011_canaries_and_shared_limits")]

    operations = [
        migrations.AddField("device", "power_w", models.FloatField(null=True)),
        migrations.AddField(
            "device",
            "link_group",
            models.CharField(
                blank=True, default="", help_text="devices of one group have a fast link to each other", max_length=32
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "device",
            "foreign",
            models.JSONField(default=list, help_text="processes that are not ours: pid, name, memory_bytes"),
        ),
    ]
