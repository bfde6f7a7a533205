-- ----------------------------------------------------------------------
-- changes/record_outages: record that webhooks fail, or answer again, unless
-- another worker or the leader has recorded it: see last_outage_change in
-- sql/functions/changes.
--
-- Parameters: arrays: $1 webhook ids, $2 kinds (webhook.failing or
--             webhook.recovered), $3 reasons; $4 who has seen it.
-- Returns:    nothing.
-- Locks:      the new rows.
-- ----------------------------------------------------------------------
INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
SELECT seen.kind, w.topic_id, w.id, seen.reason, $4::text
  FROM unnest($1::bigint[], $2::text[], $3::text[]) AS seen (webhook_id, kind, reason)
  JOIN pgtopic.webhooks w ON w.id = seen.webhook_id
  LEFT JOIN LATERAL pgtopic.last_outage_change(w.id) last ON true
 WHERE (last.kind IS NOT DISTINCT FROM 'webhook.failing') = (seen.kind = 'webhook.recovered')
