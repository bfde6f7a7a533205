-- ----------------------------------------------------------------------
-- webhooks_came_or_went: AFTER INSERT OR DELETE OR TRUNCATE on webhooks, for
-- each statement; AFTER UPDATE, for each row that got its first types or filter
-- or lost its last, or that begins or ends to have messages refused. Keeps
-- topics.webhook_ids and topics.overflowing_webhook up to date.
--
-- Locks: as list_webhooks_of_topics.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_came_or_went() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY(SELECT t.id FROM pgtopic.topics t));
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY[NEW.topic_id]);
    ELSE
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY(SELECT DISTINCT c.topic_id FROM changed c));
    END IF;
    RETURN NULL;
END
$$;
