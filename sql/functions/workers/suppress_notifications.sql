-- ----------------------------------------------------------------------
-- suppress_notifications: tell publishers that workers poll, so that they need
-- not NOTIFY.
--
-- Every transaction that has NOTIFYed commits under one cluster-wide lock, so
-- many of them slow publishers down. Workers ask for them again with their
-- heartbeats, when the time is over.
--
-- Parameters: microseconds  from now on
-- Locks:      none that lasts.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.suppress_notifications(microseconds bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM setval('pgtopic.notify_suppressed_until', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + microseconds);
    PERFORM setval('pgtopic.notify_until', 0);
END
$$;
