-- ----------------------------------------------------------------------
-- webhooks_changed: AFTER INSERT OR UPDATE OR DELETE on webhooks and UPDATE OR
-- DELETE on topics, for each statement. Tells the workers to reload the
-- webhooks. If nobody may NOTIFY, workers see the change by changed_at.
--
-- Locks: with NOTIFY, the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_changed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF pgtopic.may_notify() AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('pgtopic', 'webhooks');
    END IF;
    RETURN NULL;
END
$$;
