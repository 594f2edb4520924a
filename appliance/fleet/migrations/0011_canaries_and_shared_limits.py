"""A version beside the one that serves its name gets a share of its requests; a batch's key has the limits of the key that
made the batch. The gateway's views tell both.
"""

from django.db import migrations, models

KEYS = """
{begin}
SELECT k.digest::text AS digest, k.id::text AS key_id, t.id::text AS tenant_id, p.max_context_tokens, p.default_max_tokens,
       p.allowed_models::text[] AS allowed_models, k.expires_at,
       CASE WHEN t.id = 'system' THEN NULL ELSE jsonb_build_object(
           'tenant', jsonb_build_object(
               'requests_per_minute', p.requests_per_minute, 'tokens_per_minute', p.tokens_per_minute,
               'tokens_per_day', p.tokens_per_day, 'tokens_per_month', p.tokens_per_month,
               'spend_micros', p.monthly_budget_micros, 'concurrency', p.max_concurrency),
           'key', jsonb_build_object(
               'requests_per_minute', {limits}.requests_per_minute, 'tokens_per_minute', {limits}.tokens_per_minute,
               'spend_micros', {limits}.monthly_budget_micros),
           'models', p.model_limits,
           'prices', jsonb_build_array(p.input_price_micros, p.cached_price_micros, p.output_price_micros)) END AS limits,
       k.lane::text AS lane, p.weight{column}
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id JOIN tenants_plan p ON p.id = t.plan_id
     {join}
WHERE k.revoked_at IS NULL AND t.is_active;
"""

GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        GRANT SELECT ON gateway_keys TO coderack_gateway;
    END IF;
END $$;
"""

VIEW = KEYS.format(
    begin="CREATE OR REPLACE VIEW gateway_keys AS", limits="l",
    column=", coalesce(k.limits_of_id::text, '') AS limits_of",
    join="JOIN tenants_apikey l ON l.id = coalesce(k.limits_of_id, k.id)",
)  # fmt: skip
UNDO = KEYS.format(begin="DROP VIEW gateway_keys; CREATE VIEW gateway_keys AS", limits="k", column="", join="") + GRANT

# Of a flag that stands there twice an engine takes the last.
CANARIES = """
CREATE VIEW gateway_canaries AS
SELECT d.name::text AS name, m.digest::text AS version, d.canary_share::int AS share, d.max_model_len, m.path::text AS path,
       m.fim
FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id
WHERE d.running AND NOT d.serves AND d.canary_share > 0;

CREATE VIEW gateway_canary_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, d.name::text AS name, m.digest::text AS version,
       l.socket::text AS socket, CASE WHEN f.value ~ '^[0-9]{1,6}$' THEN f.value::int END AS max_sequences
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN registry_modelversion m ON m.id = d.model_id
     LEFT JOIN LATERAL (
         SELECT coalesce(nullif(split_part(u.flag, '=', 2), ''), d.flags[u.n + 1]) AS value
         FROM unnest(d.flags) WITH ORDINALITY AS u(flag, n)
         WHERE u.flag = '--max-num-seqs' OR u.flag LIKE '--max-num-seqs=%' ORDER BY u.n DESC LIMIT 1) f ON true
WHERE r.state = 'ready' AND d.running AND NOT d.serves AND d.canary_share > 0;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        GRANT SELECT ON gateway_canaries, gateway_canary_replicas TO coderack_gateway;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'coderack_gateway was granted nothing: this database user may not';
END $$;
"""

UNDO_CANARIES = "DROP VIEW gateway_canary_replicas; DROP VIEW gateway_canaries;"


class Migration(migrations.Migration):
    dependencies = [("fleet", "0010_attached_servers"), ("tenants", "0006_shared_limits")]
    operations = [
        migrations.RunSQL(VIEW, UNDO),
        migrations.AddField(
            "deployment",
            "canary_share",
            models.PositiveSmallIntegerField(
                default=0,
                editable=False,
                help_text="percent of the name's requests, while it does not serve it",
                verbose_name="canary share",
            ),
        ),
        migrations.AddField("deployment", "canary_since", models.DateTimeField(editable=False, null=True)),
        migrations.AddConstraint(
            "deployment",
            models.UniqueConstraint(
                condition=models.Q(("canary_share__gt", 0), ("running", True), ("serves", False)),
                fields=("name",),
                name="one_canary_per_name",
            ),
        ),
        migrations.AddConstraint(
            "deployment",
            models.CheckConstraint(condition=models.Q(("canary_share__lte", 50)), name="canary_share_at_most_half"),
        ),
        migrations.RunSQL(CANARIES, UNDO_CANARIES),
    ]
