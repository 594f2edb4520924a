"""A deployment knows the profile that its flags were taken from, so that the next version gets that profile's context too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0016_merged_models_in_the_gateway")]
    operations = [
        migrations.AddField(
            model_name="deployment",
            name="profile",
            field=models.CharField(
                blank=True, default="", editable=False, help_text="the preset's, that its flags were taken from",
                max_length=40,
            ),
        ),
    ]  # fmt: skip
