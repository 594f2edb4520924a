"""What the gateway may read: three views, a generation number, a notification on each change, a role that sees only these."""

from django.db import migrations

VIEWS = """
CREATE TABLE gateway_generation (id boolean PRIMARY KEY DEFAULT true CHECK (id), value bigint NOT NULL DEFAULT 1);
INSERT INTO gateway_generation DEFAULT VALUES;

CREATE VIEW gateway_keys AS
SELECT k.digest::text AS digest, k.id::text AS key_id, t.id::text AS tenant_id, p.max_context_tokens, p.default_max_tokens,
       p.allowed_models::text[] AS allowed_models, k.expires_at
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id JOIN tenants_plan p ON p.id = t.plan_id
WHERE k.revoked_at IS NULL AND t.is_active;

CREATE VIEW gateway_models AS
SELECT m.name::text AS name, m.owned_by::text AS owned_by, extract(epoch FROM m.created_at)::bigint AS created,
       d.max_model_len, m.path::text AS path, m.fim
FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id
WHERE d.running;

CREATE VIEW gateway_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, m.name::text AS model, l.socket::text AS socket
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN registry_modelversion m ON m.id = d.model_id
WHERE r.state = 'ready' AND d.running;

CREATE FUNCTION coderack_directory_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gateway_generation SET value = value + 1;
    PERFORM pg_notify('coderack_directory', '');
    RETURN NULL;
END $$;

CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenants_apikey
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenants_tenant
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenants_plan
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON registry_modelversion
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON fleet_deployment
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
CREATE TRIGGER directory_changed AFTER INSERT OR DELETE OR UPDATE OF state, life_id ON fleet_replica
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
"""

# A server of the operator's own may not let this role make others: then docs/configuration.md says what to grant.
ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        CREATE ROLE coderack_gateway LOGIN;
    END IF;
    GRANT SELECT ON gateway_keys, gateway_models, gateway_replicas, gateway_generation TO coderack_gateway;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'the role coderack_gateway was not made: this database user may not create roles';
END $$;
"""

UNDO = """
DROP TRIGGER directory_changed ON tenants_apikey;
DROP TRIGGER directory_changed ON tenants_tenant;
DROP TRIGGER directory_changed ON tenants_plan;
DROP TRIGGER directory_changed ON registry_modelversion;
DROP TRIGGER directory_changed ON fleet_deployment;
DROP TRIGGER directory_changed ON fleet_replica;
DROP FUNCTION coderack_directory_changed();
DROP VIEW gateway_replicas;
DROP VIEW gateway_models;
DROP VIEW gateway_keys;
DROP TABLE gateway_generation;
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial"), ("tenants", "0001_initial"), ("registry", "0001_initial")]
    operations = [migrations.RunSQL(VIEWS, UNDO), migrations.RunSQL(ROLE, migrations.RunSQL.noop)]
