-- ----------------------------------------------------------------------
-- webhooks_arrived: AFTER INSERT OR UPDATE OR DELETE on webhooks, for each row
-- that is written while triggers are switched off (logical replication,
-- session_replication_role = replica). Does what the other triggers do: from
-- now on messages are fanned out to it, and workers reload the webhooks.
--
-- Locks: as list_webhooks_of_topics; with NOTIFY, the commit takes the
--        cluster's notification lock.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_arrived() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY[OLD.topic_id]);
    END IF;
    IF TG_OP <> 'DELETE' AND (TG_OP = 'INSERT' OR NEW.topic_id <> OLD.topic_id) THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY[NEW.topic_id]);
    END IF;
    IF pgtopic.may_notify() AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('pgtopic', 'webhooks');
    END IF;
    RETURN NULL;
END
$$;
