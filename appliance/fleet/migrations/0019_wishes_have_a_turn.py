"""A wish for a device says how many fine-tunes come before it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0018_boxes")]

    operations = [
        migrations.AddField(
            model_name="devicewish",
            name="turn",
            field=models.PositiveIntegerField(default=0, help_text="how many fine-tunes come before it"),
        ),
        migrations.AlterModelOptions(name="devicewish", options={"ordering": ("turn", "since", "job_id")}),
    ]
