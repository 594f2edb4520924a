"""Which box works on a fine-tune; its story and checkpoints by the database's clock."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("training", "0004_signoffs")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="box",
            field=models.CharField(
                blank=True, default="", max_length=20, help_text="where its newest attempt is; empty: at home"
            ),
        ),
        migrations.AlterField(
            model_name="jobevent", name="created_at", field=models.DateTimeField(db_default=Now(), editable=False)
        ),
        migrations.AlterField(
            model_name="checkpoint", name="created_at", field=models.DateTimeField(db_default=Now(), editable=False)
        ),
    ]
