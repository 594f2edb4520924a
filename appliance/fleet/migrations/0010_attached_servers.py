"""Servers that the pool did not start: a table, and their place in the gateway's views. Their keys are in neither."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

# A name that a deployment serves keeps the deployment's facts; of several attached servers the shortest context holds.
MODELS = """
CREATE OR REPLACE VIEW gateway_models AS
SELECT m.name::text AS name, m.owned_by::text AS owned_by, extract(epoch FROM m.created_at)::bigint AS created,
       d.max_model_len, m.path::text AS path, m.fim, NULL::text AS tenant_id, m.name::text AS base
FROM fleet_deployment d JOIN registry_modelversion m ON m.id = d.model_id
WHERE d.running AND d.serves
UNION ALL
SELECT a.name::text, a.tenant_id::text, extract(epoch FROM a.created_at)::bigint,
       d.max_model_len, m.path::text, m.fim, a.tenant_id::text, m.name::text
FROM registry_adapter a JOIN registry_modelversion m ON m.id = a.base_id JOIN fleet_deployment d ON d.model_id = m.id
WHERE d.running AND d.serves AND a.state = 'active'
"""
ATTACHED_MODELS = """
UNION ALL
SELECT s.name::text, 'coderack'::text, extract(epoch FROM min(s.created_at))::bigint, min(s.max_model_len),
       (array_agg(s.tokenizer_path ORDER BY s.created_at))[1]::text, bool_and(s.fim), NULL::text, s.name::text
FROM fleet_attachedserver s
WHERE s.state <> 'draining'
      AND NOT EXISTS (SELECT FROM fleet_deployment d WHERE d.name = s.name AND d.running AND d.serves)
GROUP BY s.name
"""
SEQUENCES = "CASE WHEN f.value ~ '^[0-9]{1,6}$' THEN f.value::int END AS max_sequences"
# Of a flag that stands there twice an engine takes the last.
FLAGS = """
     LEFT JOIN LATERAL (
         SELECT coalesce(nullif(split_part(u.flag, '=', 2), ''), d.flags[u.n + 1]) AS value
         FROM unnest(d.flags) WITH ORDINALITY AS u(flag, n)
         WHERE u.flag = '--max-num-seqs' OR u.flag LIKE '--max-num-seqs=%' ORDER BY u.n DESC LIMIT 1) f ON true"""
REPLICAS = """
CREATE OR REPLACE VIEW gateway_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, m.name::text AS model, l.socket::text AS socket, {sequences} {null}
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN registry_modelversion m ON m.id = d.model_id {flags}
WHERE r.state = 'ready' AND d.running AND d.serves
UNION ALL
SELECT r.id::text, l.id::text, a.name::text, l.socket::text, {sequences} {null}
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id
     JOIN fleet_adapterload o ON o.life_id = l.id JOIN registry_adapter a ON a.id = o.adapter_id AND a.base_id = d.model_id
     {flags}
WHERE r.state = 'ready' AND d.running AND d.serves AND o.loaded AND a.state = 'active'
"""
ATTACHED_REPLICAS = """
UNION ALL
SELECT s.id::text, s.life_id::text, s.name::text, '', s.max_sequences,
       jsonb_build_object('url', s.url, 'model', s.served_model, 'priority', s.priority, 'cache_salt', s.cache_salt,
                          'usage', s.usage, 'aborts', s.aborts)
FROM fleet_attachedserver s
WHERE s.state = 'ready' AND s.life_id IS NOT NULL
"""
# Readings of counters change no row that the views show.
TRIGGER = """
CREATE TRIGGER directory_changed AFTER INSERT OR DELETE OR UPDATE OF state, life_id ON fleet_attachedserver
    FOR EACH STATEMENT EXECUTE FUNCTION coderack_directory_changed();
"""
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'coderack_gateway') THEN
        GRANT SELECT ON gateway_models, gateway_replicas TO coderack_gateway;
    END IF;
END $$;
"""


def _replicas(null: str) -> str:
    return REPLICAS.replace("{sequences}", SEQUENCES).replace("{flags}", FLAGS).replace("{null}", null)


VIEWS = f"{MODELS}{ATTACHED_MODELS};{_replicas(', NULL::jsonb AS attached')}{ATTACHED_REPLICAS};{TRIGGER}"
UNDO = (
    "DROP TRIGGER directory_changed ON fleet_attachedserver; DROP VIEW gateway_models; DROP VIEW gateway_replicas;"
    f"{MODELS};{_replicas('')};{GRANT}"
)


class Migration(migrations.Migration):
    dependencies = [("fleet", "0009_sharing_in_the_gateway")]
    operations = [
        migrations.CreateModel(
            name="AttachedServer",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200, verbose_name="model")),
                ("url", models.CharField(max_length=500, verbose_name="address")),
                ("served_model", models.CharField(max_length=200, verbose_name="its own name for the model")),
                ("max_model_len", models.PositiveIntegerField(verbose_name="context")),
                ("max_sequences", models.PositiveIntegerField(null=True, verbose_name="requests at once")),
                ("tokenizer_path", models.CharField(max_length=500)),
                ("fim", models.BooleanField(default=False)),
                ("priority", models.BooleanField(default=False)),
                ("cache_salt", models.BooleanField(default=False)),
                ("usage", models.BooleanField(default=False)),
                ("aborts", models.BooleanField(default=False)),
                ("state", models.CharField(default="starting", max_length=16, verbose_name="state")),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                ("state_since", models.DateTimeField(auto_now_add=True, verbose_name="since")),
                ("base_prompt_tokens", models.BigIntegerField(null=True)),
                ("base_generation_tokens", models.BigIntegerField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="attached")),
                (
                    "life",
                    models.OneToOneField(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="fleet.enginelife"
                    ),
                ),
            ],
            options={
                "ordering": ("name", "created_at"),
                "constraints": [
                    models.UniqueConstraint(fields=("url", "served_model"), name="one_attachment_per_served_model")
                ],
            },
        ),
        migrations.AddField("enginelife", "attached_url", models.CharField(blank=True, default="", max_length=500), preserve_default=False),
        migrations.AddField("enginelife", "counts_aborted", models.BooleanField(default=True)),
        migrations.RunSQL(VIEWS, UNDO),
    ]  # fmt: skip
