-- ----------------------------------------------------------------------
-- suppress_notifications: tell publishers for some time that workers poll, so
-- that publishers need not NOTIFY.
--
-- All transactions that have sent a NOTIFY commit under one lock of the
-- cluster. So many of them slow publishers down. After that time the workers'
-- heartbeats ask publishers to NOTIFY again.
--
-- Parameters: microseconds  how long, from now on
-- Locks:      none that it keeps.
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
