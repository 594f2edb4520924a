"""The gateway's view of keys tells their limits in time and prices; the tenant that pays for canaries has none."""

from django.db import migrations

VIEW = """
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
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id JOIN tenants_plan p ON p.id = t.plan_id
WHERE k.revoked_at IS NULL AND t.is_active;
"""

UNDO = """
DROP VIEW gateway_keys;
CREATE VIEW gateway_keys AS
SELECT k.digest::text AS digest, k.id::text AS key_id, t.id::text AS tenant_id, p.max_context_tokens, p.default_max_tokens,
       p.allowed_models::text[] AS allowed_models, k.expires_at
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id JOIN tenants_plan p ON p.id = t.plan_id
WHERE k.revoked_at IS NULL AND t.is_active;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        GRANT SELECT ON gateway_keys TO coderack_gateway;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0007_serving_in_the_gateway"), ("tenants", "0004_limits_in_time")]
    operations = [migrations.RunSQL(VIEW, UNDO)]
