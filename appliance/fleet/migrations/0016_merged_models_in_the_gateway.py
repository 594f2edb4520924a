"""Engines that serve an adapter as a merged model are in the gateway's view under the adapter's name.

Their deployments serve no name, so that nothing else that tenants see knows of them. Who may see the adapter is said by
`gateway_models`, which stays as it is.
"""

from django.db import migrations

SEQUENCES = "CASE WHEN f.value ~ '^[0-9]{1,6}$' THEN f.value::int END AS max_sequences"
# Of a flag that stands there twice an engine takes the last.
FLAGS = """
     LEFT JOIN LATERAL (
         SELECT coalesce(nullif(split_part(u.flag, '=', 2), ''), d.flags[u.n + 1]) AS value
         FROM unnest(d.flags) WITH ORDINALITY AS u(flag, n)
         WHERE u.flag = '--max-num-seqs' OR u.flag LIKE '--max-num-seqs=%' ORDER BY u.n DESC LIMIT 1) f ON true"""
ENGINES = """
FROM fleet_replica r JOIN fleet_enginelife l ON l.id = r.life_id JOIN fleet_deployment d ON d.id = r.deployment_id"""
REPLICAS = """
CREATE OR REPLACE VIEW gateway_replicas AS
SELECT r.id::text AS replica_id, l.id::text AS life_id, m.name::text AS model, l.socket::text AS socket, {SEQUENCES},
       NULL::jsonb AS attached {ENGINES}
     JOIN registry_modelversion m ON m.id = d.model_id {FLAGS}
WHERE r.state = 'ready' AND d.running AND d.serves
UNION ALL
SELECT r.id::text, l.id::text, a.name::text, l.socket::text, {SEQUENCES}, NULL::jsonb {ENGINES}
     JOIN fleet_adapterload o ON o.life_id = l.id JOIN registry_adapter a ON a.id = o.adapter_id AND a.base_id = d.model_id
     {FLAGS}
WHERE r.state = 'ready' AND d.running AND d.serves AND o.loaded AND a.state = 'active'
UNION ALL
SELECT s.id::text, s.life_id::text, s.name::text, '', s.max_sequences,
       jsonb_build_object('url', s.url, 'model', s.served_model, 'priority', s.priority, 'cache_salt', s.cache_salt,
                          'usage', s.usage, 'aborts', s.aborts)
FROM fleet_attachedserver s
WHERE s.state = 'ready' AND s.life_id IS NOT NULL
"""
MERGED = """
UNION ALL
SELECT r.id::text, l.id::text, a.name::text, l.socket::text, {SEQUENCES}, NULL::jsonb {ENGINES}
     JOIN registry_mergedmodel g ON g.version_id = d.model_id JOIN registry_adapter a ON a.id = g.adapter_id
     {FLAGS}
WHERE r.state = 'ready' AND d.running AND a.state = 'active'
"""


def _sql(text: str) -> str:
    return text.replace("{SEQUENCES}", SEQUENCES).replace("{ENGINES}", ENGINES).replace("{FLAGS}", FLAGS)


class Migration(migrations.Migration):
    dependencies = [("fleet", "0015_lending"), ("registry", "0004_merged_models")]
    operations = [migrations.RunSQL(_sql(f"{REPLICAS}{MERGED}"), _sql(REPLICAS))]
