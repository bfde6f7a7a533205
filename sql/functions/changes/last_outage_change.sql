-- ----------------------------------------------------------------------
-- last_outage_change: what the audit log says last of a webhook's outages.
--
-- Workers and the leader see the same outage. Each of them writes only what this
-- has not said already. The function has no SET. So PostgreSQL puts its text
-- into the statement that calls it.
--
-- Returns: one row: webhook.failing if the webhook fails, as far as the log
--          knows; otherwise webhook.recovered, or that it was disabled or
--          enabled, which ends an outage too; and when that was written. No row
--          if the log says nothing.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.last_outage_change(webhook bigint) RETURNS TABLE (kind text, created_at timestamptz)
LANGUAGE sql STABLE
AS $$
SELECT c.kind, c.created_at
  FROM pgtopic.changes c
 WHERE c.webhook_id = last_outage_change.webhook
   AND c.kind IN ('webhook.failing', 'webhook.recovered', 'webhook.disabled', 'webhook.enabled')
 ORDER BY c.id DESC
 LIMIT 1
$$;
