-- Disable a webhook whose receiver answered 410 Gone. Its backlog is kept.
-- Parameters: webhook id, reason, who does it. Returns: nothing. Locks: the webhook's row.
UPDATE pgtopic.webhooks SET disabled_reason = $2 
 WHERE id = $1 AND disabled_reason IS NULL AND set_config('pgtopic_session.changed_by', $3, true) IS NOT NULL
