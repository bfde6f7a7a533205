-- Disable a webhook that no request can be made for. Its backlog is kept.
-- Only if the row is still the version that was read: a later change may have repaired it.
-- Parameters: webhook id, xmin of the row that was read, reason, who does it. Returns: nothing; a
-- row is counted if it was disabled. Locks: the webhook's row.
UPDATE pgtopic.webhooks SET disabled_reason = $3
 WHERE id = $1 AND xmin = $2::text::xid AND disabled_reason IS NULL
   AND set_config('pgtopic_session.changed_by', $4, true) IS NOT NULL
