"""For how long a fine-tune held a device."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0005_boxes")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="device_s",
            field=models.FloatField(default=0.0, help_text="seconds for which its attempts held a device"),
        ),
    ]
