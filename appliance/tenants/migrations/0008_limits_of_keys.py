"""A key's own limits: all that a plan has, and the names of the models that it may use. The gateway's view tells them."""

from django.contrib.postgres.fields import ArrayField
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
               'requests_per_minute', l.requests_per_minute, 'tokens_per_minute', l.tokens_per_minute,
               {limits}'spend_micros', l.monthly_budget_micros),
           'models', p.model_limits,
           'prices', jsonb_build_array(p.input_price_micros, p.cached_price_micros, p.output_price_micros)) END AS limits,
       k.lane::text AS lane, p.weight, coalesce(k.limits_of_id::text, '') AS limits_of{column}
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id JOIN tenants_plan p ON p.id = t.plan_id
     JOIN tenants_apikey l ON l.id = coalesce(k.limits_of_id, k.id)
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
    begin="CREATE OR REPLACE VIEW gateway_keys AS",
    limits="'tokens_per_day', l.tokens_per_day, 'tokens_per_month', l.tokens_per_month, 'concurrency', l.max_concurrency, ",
    column=", l.allowed_models::text[] AS names",
)  # fmt: skip
UNDO = KEYS.format(begin="DROP VIEW gateway_keys; CREATE VIEW gateway_keys AS", limits="", column="") + GRANT


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_needs_signoff"), ("fleet", "0011_canaries_and_shared_limits")]
    operations = [
        migrations.AddField(
            "apikey",
            "max_concurrency",
            models.PositiveIntegerField(blank=True, null=True, verbose_name="requests at once"),
        ),
        migrations.AddField(
            "apikey",
            "tokens_per_day",
            models.PositiveBigIntegerField(blank=True, null=True, verbose_name="tokens per day"),
        ),
        migrations.AddField(
            "apikey",
            "tokens_per_month",
            models.PositiveBigIntegerField(blank=True, null=True, verbose_name="tokens per month"),
        ),
        migrations.AddField(
            "apikey",
            "allowed_models",
            ArrayField(
                base_field=models.CharField(max_length=200),
                blank=True,
                null=True,
                size=None,
                verbose_name="allowed models",
            ),
        ),
        migrations.RunSQL(VIEW, UNDO),
    ]
