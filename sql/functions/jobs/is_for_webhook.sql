-- ----------------------------------------------------------------------
-- is_for_webhook: whether a webhook's types and filter, as they are now, let a
-- message through.
-- Returns: false also if one of the two is gone. Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.is_for_webhook(webhook_id bigint, message_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT EXISTS (
    SELECT
      FROM pgtopic.webhooks w
     CROSS JOIN LATERAL (SELECT m.type, m.payload FROM pgtopic.messages m WHERE m.id = is_for_webhook.message_id LIMIT 1) m
     WHERE w.id = is_for_webhook.webhook_id
       AND (w.types IS NULL OR pgtopic.type_matches(w.types, m.type))
       AND (w.filter IS NULL OR pgtopic.filter_matches(w.filter, m.payload, w.filter_limit)))
$$;
