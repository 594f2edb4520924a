"""Replicas from before devices had owners own what they have."""

from django.db import migrations

OWNERS = """
INSERT INTO fleet_deviceowner (device_id, replica_id, since)
SELECT DISTINCT ON (device) device, r.id, now() FROM fleet_replica r, unnest(r.devices) AS device ORDER BY device, r.state_since
ON CONFLICT (device_id) DO NOTHING;
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0004_adapters_in_the_gateway")]
    operations = [migrations.RunSQL(OWNERS, migrations.RunSQL.noop)]
