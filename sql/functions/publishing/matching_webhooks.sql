-- ----------------------------------------------------------------------
-- matching_webhooks: the webhooks that are owed a message. No search path is
-- set, as in messages_publish.
--
-- Returns: the topic's webhooks whose types and filter let the message through,
--          by rising id.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.matching_webhooks(topic_id bigint, type pg_catalog.text, payload pg_catalog.json) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN ARRAY(SELECT w.id
                   FROM pgtopic.webhooks w
                  WHERE w.topic_id OPERATOR(pg_catalog.=) matching_webhooks.topic_id
                    AND (w.types IS NULL OR pgtopic.type_matches(w.types, matching_webhooks.type))
                    AND (w.filter IS NULL OR pgtopic.filter_matches(w.filter, matching_webhooks.payload, w.filter_limit))
                  ORDER BY w.id);
END
$$;
