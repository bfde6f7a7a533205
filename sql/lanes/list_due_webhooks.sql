-- Which webhooks have a lane to claim.
-- Parameters: the webhook after which to begin (null: the first one), how many webhooks to look at,
-- whether lanes of workers that are gone count. Returns: see list_due_webhooks. Locks: none.
SELECT webhook_id, due_at, ended
  FROM pgtopic.list_due_webhooks($1, $2, $3)
