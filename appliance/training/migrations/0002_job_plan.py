from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="plan",
            field=models.JSONField(help_text="what its newest attempt was reckoned to take", null=True),
        ),
    ]
