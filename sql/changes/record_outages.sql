-- ----------------------------------------------------------------------
-- changes/record_outages: record that webhooks fail, or answer again.
--
-- Several workers may see the same outage. So only the first one that says that
-- a webhook fails is recorded, and after it the first one that says that it has
-- recovered. To enable a webhook ends an outage, too.
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
 WHERE (seen.kind = 'webhook.recovered')
     = ((SELECT c.kind
           FROM pgtopic.changes c
          WHERE c.webhook_id = w.id
            AND c.kind IN ('webhook.failing', 'webhook.recovered', 'webhook.disabled', 'webhook.enabled')
          ORDER BY c.id DESC
          LIMIT 1) IS NOT DISTINCT FROM 'webhook.failing')
