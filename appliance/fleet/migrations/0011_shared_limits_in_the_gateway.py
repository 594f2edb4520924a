"""The gateway's view of keys tells whose limits hold for a key: a batch's key has those of the key that made the batch."""

from django.db import migrations

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


class Migration(migrations.Migration):
    dependencies = [("fleet", "0009_sharing_in_the_gateway"), ("tenants", "0007_shared_limits")]
    operations = [migrations.RunSQL(VIEW, UNDO)]
