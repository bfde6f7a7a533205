-- ----------------------------------------------------------------------
-- notify_workers: NOTIFY that a message was published.
--
-- The notification holds the message's id, and its stripe if it has one. Every
-- role that may connect can read a notification, so it holds nothing else.
-- (pg_locks shows the stripe to everybody anyway.) Workers read the rest from
-- the tables.
--
-- A transaction sends one notification for each of its first ten messages, and
-- then one more that says "more". If the notification queue were full, COMMIT
-- would fail, and nothing could catch that. So none is sent once the queue is
-- half full. Then workers find the message by polling.
--
-- No search path is set, as in messages_publish.
--
-- Locks: the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.notify_workers(message_id bigint, stripe integer) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    now_us       bigint := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000;
    notify_until bigint := pg_catalog.pg_sequence_last_value('pgtopic.notify_until'::pg_catalog.regclass);
    -- A variable of this transaction holds one mark for each notification that was sent.
    variable     pg_catalog.text := pg_catalog.concat('pgtopic_notifications.schema_', '"pgtopic"'::pg_catalog.regnamespace::pg_catalog.oid);
    marks        pg_catalog.text := coalesce(pg_catalog.current_setting(variable, true), '');
    sent         integer := pg_catalog.length(marks);
BEGIN
    -- An instant more than 10 s ahead was written before a step of the clock: it counts as unset.
    IF sent OPERATOR(pg_catalog.>) 10
        OR notify_until OPERATOR(pg_catalog.<=) now_us
        OR notify_until OPERATOR(pg_catalog.>) (now_us OPERATOR(pg_catalog.+) 10000000)
        OR pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.>=) 0.5
    THEN
        RETURN;
    END IF;
    PERFORM pg_catalog.pg_notify('pgtopic', CASE WHEN sent OPERATOR(pg_catalog.<) 10
                                                 THEN pg_catalog.concat_ws(' ', message_id, stripe)
                                                 ELSE 'more' END);
    PERFORM pg_catalog.set_config(variable, marks OPERATOR(pg_catalog.||) '.', true);
END
$$;
