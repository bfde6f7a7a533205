-- The webhooks that may have changed since an instant.
-- Parameters: from which changed_at on. Returns: see list_changed_webhooks. Locks: none.
SELECT webhook_id, version, deliverable, looked_at, webhooks
  FROM pgtopic.list_changed_webhooks($1)
