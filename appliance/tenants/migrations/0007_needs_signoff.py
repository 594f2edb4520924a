from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_shared_limits")]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="needs_signoff",
            field=models.BooleanField(default=False, verbose_name="data reports are signed off before training"),
        ),
    ]
