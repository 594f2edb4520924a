"""Adapters that engines keep at hand, whatever else is asked of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0004_merged_models")]
    operations = [
        migrations.AddField("adapter", "pinned", models.BooleanField("pinned", default=False)),
    ]
