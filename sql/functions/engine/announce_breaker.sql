-- ----------------------------------------------------------------------
-- announce_breaker: tell the workers that a breaker has changed. It is a hint:
-- they also see it by breakers.changed_at, with their next heartbeat.
--
-- Locks: with NOTIFY, the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.announce_breaker() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF pgtopic.may_notify() AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('pgtopic', 'webhooks');
    END IF;
END
$$;
