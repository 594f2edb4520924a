"""The gateway's views tell what sharing engines fairly needs: a key's lane, a tenant's weight, an engine's sequences at once."""

from django.db import migrations

KEYS = """
CREATE OR REPLACE VIEW gateway_keys AS
SELECT k.digest::text AS digest, k.id::text AS key_id, t.id::text AS tenant_id, p.max_context_tokens, p.default_max_tokens,
       p.allowed_models::text[] AS allowed_models, k.expires_at,
       CASE WHEN t.id = 'system' THEN NULL ELSE jsonb_build_object(
           'tenant', jsonb_build_object(
               'requests_per_minute', p.requests_per_minute, 'tokens_per_minute', p.tokens_per_minute,
               'tokens_per_day', p.tokens_per_day, 'tokens_per_month', p.tokens_per_month,
               'spend_micros', p.monthly_budget_micros, 'concurrency', p.max_concurrency),
           'key', jsonb_build_object(
               'requests_per_minute', k.requests_per_minute, 'tokens_per_minute', k.tokens_per_minute,
               'spend_micros', k.monthly_budget_micros),
           'models', p.model_limits,
           'prices', jsonb_build_array(p.input_price_micros, p.cached_price_micros, p.output_price_micros)) END AS limits
       {keys}
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id JOIN tenants_plan p ON p.id = t.plan_id
WHERE k.revoked_at IS NULL AND t.is_active;
"""

REPLICAS = """
CREATE OR REPLACE VIEW gateway_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, m.name::text AS model, l.socket::text AS socket {sequences}
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN registry_modelversion m ON m.id = d.model_id {flags}
WHERE r.state = 'ready' AND d.running AND d.serves
UNION ALL
SELECT r.id::text, l.id::text, a.name::text, l.socket::text {sequences}
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN fleet_adapterload o ON o.life_id = l.id JOIN registry_adapter a ON a.id = o.adapter_id AND a.base_id = d.model_id
     {flags}
WHERE r.state = 'ready' AND d.running AND d.serves AND o.loaded AND a.state = 'active';
"""

SEQUENCES = ", CASE WHEN f.value ~ '^[0-9]{1,6}$' THEN f.value::int END AS max_sequences"

# Of a flag that stands there twice an engine takes the last.
FLAGS = """
     LEFT JOIN LATERAL (
         SELECT coalesce(nullif(split_part(u.flag, '=', 2), ''), d.flags[u.n + 1]) AS value
         FROM unnest(d.flags) WITH ORDINALITY AS u(flag, n)
         WHERE u.flag = '--max-num-seqs' OR u.flag LIKE '--max-num-seqs=%' ORDER BY u.n DESC LIMIT 1) f ON true"""

GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        GRANT SELECT ON gateway_keys, gateway_replicas TO coderack_gateway;
    END IF;
END $$;
"""


def _sql(keys: str, sequences: str, flags: str) -> str:
    return KEYS.replace("{keys}", keys) + REPLICAS.replace("{sequences}", sequences).replace("{flags}", flags)


VIEWS = _sql(", k.lane::text AS lane, p.weight", SEQUENCES, FLAGS)
UNDO = f"DROP VIEW gateway_keys; DROP VIEW gateway_replicas; {_sql('', '', '')} {GRANT}"


class Migration(migrations.Migration):
    dependencies = [("fleet", "0008_limits_in_the_gateway"), ("tenants", "0005_lanes_and_weights")]
    operations = [migrations.RunSQL(VIEWS, UNDO)]
