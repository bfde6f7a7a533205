-- A worker's shares of the limits of webhooks.
-- Parameters: the worker; its webhooks, and for each of them whether the worker wants to send, the
-- slots and the rate that it holds; the webhooks whose shares it gives back.
-- Returns, raises, locks: see share_limits.
SELECT webhook_id, slots, rate
  FROM pgtopic.share_limits($1, $2, $3, $4, $5, $6)
