-- ----------------------------------------------------------------------
-- worker_heartbeat: say that a worker lives and listens.
--
-- Parameters:
--   worker         the incarnation
--   in_flight_now  its requests in flight
--   lease_seconds  how long it may go without a heartbeat before it is taken
--                  for hung; null leaves its row alone this time
--
-- Returns: one row.
--   suppressed_us    for how many microseconds more publishers do not NOTIFY
--                    because workers poll (0: they do)
--   notifies         whether anybody may NOTIFY; where not, workers poll always
--   last_message_id  the last id that was given to a message; null before the
--                    first
--   changed_at       where nobody may NOTIFY: when a webhook or topic was
--                    changed last; else null
-- Raises:  55000 the worker is not registered, or gone: it must start over.
-- Locks:   its own row. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.worker_heartbeat(worker uuid, in_flight_now integer, lease_seconds double precision)
RETURNS TABLE (suppressed_us bigint, notifies boolean, last_message_id bigint, changed_at timestamptz)
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
           SET heartbeat_at = clock_timestamp(), in_flight = in_flight_now, lease = make_interval(secs => lease_seconds)
         WHERE w.id = worker AND NOT w.gone;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    notifies := pgtopic.may_notify();
    last_message_id := pg_sequence_last_value('pgtopic.message_ids');
    -- An instant more than 10 s ahead was written before a step of the clock, and counts as unset.
    suppressed_us := CASE WHEN suppressed_until > now_us AND suppressed_until < now_us + 10000000
                          THEN suppressed_until - now_us ELSE 0 END;
    IF NOT notifies THEN
        changed_at := greatest((SELECT max(w.changed_at) FROM pgtopic.webhooks w), (SELECT max(t.changed_at) FROM pgtopic.topics t));
        IF notify_until > 0 THEN
            PERFORM setval('pgtopic.notify_until', 0);
        END IF;
    ELSIF suppressed_us = 0 AND (notify_until < now_us + 2000000 OR notify_until > now_us + 10000000) THEN
        -- Written anew when half of it is used up, or when a step of the clock made it worthless.
        PERFORM setval('pgtopic.notify_until', now_us + 4000000);
    END IF;
    RETURN NEXT;
END
$$;
