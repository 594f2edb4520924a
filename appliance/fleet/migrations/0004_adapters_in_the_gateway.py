"""Active adapters in the gateway's views: visible with their tenant, routed to engines that have them loaded.

`CREATE OR REPLACE VIEW` keeps the grants that an operator's own server was given; going back has to make the view anew.
"""

from django.db import migrations

VIEWS = """
CREATE OR REPLACE VIEW gateway_models AS
SELECT m.name::text AS name, m.owned_by::text AS owned_by, extract(epoch FROM m.created_at)::bigint AS created,
       d.max_model_len, m.path::text AS path, m.fim, NULL::text AS tenant_id, m.name::text AS base
FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id
WHERE d.running
UNION ALL
SELECT a.name::text, a.tenant_id::text, extract(epoch FROM a.created_at)::bigint,
       d.max_model_len, m.path::text, m.fim, a.tenant_id::text, m.name::text
FROM registry_adapter a JOIN registry_modelversion m ON m.id = a.base_id JOIN fleet_deployment d ON d.model_id = m.id
WHERE d.running AND a.state = 'active';

CREATE OR REPLACE VIEW gateway_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, m.name::text AS model, l.socket::text AS socket
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN registry_modelversion m ON m.id = d.model_id
WHERE r.state = 'ready' AND d.running
UNION ALL
SELECT r.id::text, l.id::text, a.name::text, l.socket::text
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN fleet_adapterload o ON o.life_id = l.id JOIN registry_adapter a ON a.id = o.adapter_id AND a.base_id = d.model_id
WHERE r.state = 'ready' AND d.running AND o.loaded AND a.state = 'active';

CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON registry_adapter
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR DELETE OR UPDATE OF loaded ON fleet_adapterload
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
"""

UNDO = """
DROP TRIGGER directory_changed ON registry_adapter;
DROP TRIGGER directory_changed ON fleet_adapterload;

CREATE OR REPLACE VIEW gateway_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, m.name::text AS model, l.socket::text AS socket
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN registry_modelversion m ON m.id = d.model_id
WHERE r.state = 'ready' AND d.running;

DROP VIEW gateway_models;
CREATE VIEW gateway_models AS
SELECT m.name::text AS name, m.owned_by::text AS owned_by, extract(epoch FROM m.created_at)::bigint AS created,
       d.max_model_len, m.path::text AS path, m.fim
FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id
WHERE d.running;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        GRANT SELECT ON gateway_models TO coderack_gateway;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0003_adapters_and_training"), ("registry", "0002_adapters_and_training")]
    operations = [migrations.RunSQL(VIEWS, UNDO)]
