"""The gateway's views show a name's requests to the deployment that serves it, adapters with their base's."""

from django.db import migrations, models

VIEWS = """
CREATE OR REPLACE VIEW gateway_models AS
SELECT m.name::text AS name, m.owned_by::text AS owned_by, extract(epoch FROM m.created_at)::bigint AS created,
       d.max_model_len, m.path::text AS path, m.fim, NULL::text AS tenant_id, m.name::text AS base
FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id
WHERE d.running{serves}
UNION ALL
SELECT a.name::text, a.tenant_id::text, extract(epoch FROM a.created_at)::bigint,
       d.max_model_len, m.path::text, m.fim, a.tenant_id::text, m.name::text
FROM registry_adapter a JOIN registry_modelversion m ON m.id = a.base_id JOIN fleet_deployment d ON d.model_id = m.id
WHERE d.running{serves} AND a.state = 'active';

CREATE OR REPLACE VIEW gateway_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, m.name::text AS model, l.socket::text AS socket
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN registry_modelversion m ON m.id = d.model_id
WHERE r.state = 'ready' AND d.running{serves}
UNION ALL
SELECT r.id::text, l.id::text, a.name::text, l.socket::text
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN fleet_adapterload o ON o.life_id = l.id JOIN registry_adapter a ON a.id = o.adapter_id AND a.base_id = d.model_id
WHERE r.state = 'ready' AND d.running{serves} AND o.loaded AND a.state = 'active';
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0006_serving_deployments")]
    operations = [
        migrations.RunSQL(VIEWS.format(serves=" AND d.serves"), VIEWS.format(serves="")),
        migrations.AddConstraint(
            "deployment",
            models.UniqueConstraint(
                condition=models.Q(("running", True), ("serves", True)),
                fields=("name",),
                name="one_serving_deployment_per_name",
            ),
        ),
    ]
