-- ----------------------------------------------------------------------
-- worker_heartbeat: say that a worker lives and listens.
--
-- Parameters:
--   worker         the incarnation
--   in_flight_now  how many of its lanes are in flight
--   lanes_now      how many lanes it holds
--   stopping_now   whether it stops
--   trouble_now    what goes wrong in it; null: nothing
--   lease_seconds  how long it may go without a heartbeat before it is taken
--                  for hung; null: its row is not written this time
--
-- Returns: one row.
--   suppressed_us      for how many microseconds more notifications are
--                      suppressed; 0 if they are not
--   notifies           whether anybody may NOTIFY; if nobody may, workers
--                      always poll
--   given_ids          how many message ids were given out, counted from some
--                      start; null before the first
--   changed_at         when a breaker was last changed; if nobody may NOTIFY,
--                      also when a webhook or topic was; null: never
--   sending            whether anything is to be sent; null: nobody has said
--   system_identifier  the server and the database that this installation is
--   database_oid       to send from
-- Raises:  55000 the worker is not registered, or it is gone: it must start
--          over.
-- Locks:   its own row, if it is written. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.worker_heartbeat(worker uuid, in_flight_now integer, lanes_now integer, stopping_now boolean,
                                                    trouble_now text, lease_seconds double precision)
RETURNS TABLE (suppressed_us bigint, notifies boolean, given_ids bigint, changed_at timestamptz, sending boolean,
               system_identifier bigint, database_oid bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    now_us           bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    notify_until     bigint := pg_sequence_last_value('pgtopic.notify_until');
    suppressed_until bigint := pg_sequence_last_value('pgtopic.notify_suppressed_until');
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF lease_seconds IS NULL THEN
        PERFORM FROM pgtopic.workers w WHERE w.id = worker AND NOT w.gone;
    ELSE
        UPDATE pgtopic.workers w
           SET heartbeat_at = clock_timestamp(), lease = make_interval(secs => lease_seconds),
               in_flight = in_flight_now, lanes = lanes_now, stopping = stopping_now, trouble = trouble_now
         WHERE w.id = worker AND NOT w.gone;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    notifies := pgtopic.may_notify();
    SELECT i.sending, i.system_identifier, i.database_oid INTO sending, system_identifier, database_oid FROM pgtopic.installation i;
    -- Ids of an installation with a cell lie further apart.
    given_ids := pg_sequence_last_value('pgtopic.message_ids')
                 / (SELECT s.seqincrement FROM pg_sequence s WHERE s.seqrelid = 'pgtopic.message_ids'::regclass);
    -- An instant more than 10 s ahead was written before a step of the clock: it counts as unset.
    suppressed_us := CASE WHEN suppressed_until > now_us AND suppressed_until < now_us + 10000000
                          THEN suppressed_until - now_us ELSE 0 END;
    changed_at := (SELECT max(b.changed_at) FROM pgtopic.breakers b);
    IF NOT notifies THEN
        changed_at := greatest(changed_at, (SELECT max(w.changed_at) FROM pgtopic.webhooks w),
                               (SELECT max(t.changed_at) FROM pgtopic.topics t));
        IF notify_until > 0 THEN
            PERFORM setval('pgtopic.notify_until', 0);
        END IF;
    ELSIF suppressed_us = 0 AND (notify_until < now_us + 2000000 OR notify_until > now_us + 10000000) THEN
        -- Write it again when half of the time is used up, or when a step of the clock made it
        -- useless.
        PERFORM setval('pgtopic.notify_until', now_us + 4000000);
    END IF;
    RETURN NEXT;
END
$$;
