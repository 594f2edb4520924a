from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0005_lanes_and_weights")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="limits_of",
            field=models.ForeignKey(
                editable=False,
                help_text="the key whose own limits hold for this one too, counted together",
                null=True,
                on_delete=models.deletion.CASCADE,
                related_name="+",
                to="tenants.apikey",
            ),
        ),
    ]
