-- ----------------------------------------------------------------------
-- check_backlogs: count what some webhooks with max_owed are owed, and note
-- which of them overflow.
--
-- A webhook overflows as soon as it is owed more than max_owed, until it is owed
-- no more than nine tenths of that. Replays do not count. A webhook that is
-- starting is left out: what it is owed cannot be sent yet.
--
-- What is owed is counted lane by lane, from each lane's position. So the count
-- walks over no dead rows. It ends 10,000 above the limit.
--
-- Parameters: after_webhook  where to begin: after this webhook
--             left_out       webhooks that are not to be looked at now
--             takes          about how long a call may take
--             leader         who does it, for the audit log
-- Returns:    a row for each webhook that was looked at, by rising id: how many
--             messages are to be given up for it now; whether it overflows, and
--             whether that is new; and how many seconds the count took. The
--             caller goes on after the last one, until no row comes.
-- Locks:      the rows of webhooks that change; as list_webhooks_of_topics.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.check_backlogs(after_webhook bigint, left_out bigint[], takes interval, leader text)
RETURNS TABLE (webhook_id bigint, excess bigint, overflows boolean, changed boolean, seconds float8)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
    seen_above CONSTANT bigint := 10000;
    who        text        := set_config('pgtopic_session.changed_by', leader, true);
    until      timestamptz := clock_timestamp() + takes;
    begun      timestamptz;
    webhook    record;
    owed       bigint;
BEGIN
    FOR webhook IN
        SELECT w.id, w.max_owed, w.overflowing, w.on_overflow
          FROM pgtopic.webhooks w
         WHERE (w.max_owed IS NOT NULL OR w.overflowing) AND w.id > after_webhook AND w.id <> ALL (left_out)
           AND (w.state = 'active' OR w.overflowing)
         ORDER BY w.id
    LOOP
        begun := clock_timestamp();
        SELECT count(*) INTO owed
          FROM (SELECT
                  FROM pgtopic.lanes l
                 CROSS JOIN LATERAL (
                    SELECT
                      FROM pgtopic.deliveries d
                     WHERE d.webhook_id = webhook.id AND d.lane = l.lane AND d.message_id > l.position AND d.replayed_at IS NULL
                     LIMIT webhook.max_owed + seen_above) d
                 WHERE l.webhook_id = webhook.id
                 LIMIT webhook.max_owed + seen_above) o
         WHERE webhook.max_owed IS NOT NULL;
        webhook_id := webhook.id;
        -- Without a limit there is no overflow.
        overflows := coalesce(owed > webhook.max_owed OR webhook.overflowing AND owed > webhook.max_owed::bigint * 9 / 10, false);
        changed := overflows <> webhook.overflowing;
        excess := CASE WHEN webhook.on_overflow = 'refuse' THEN 0 ELSE greatest(owed - webhook.max_owed, 0) END;
        seconds := extract(epoch FROM clock_timestamp() - begun);
        IF changed THEN
            UPDATE pgtopic.webhooks w SET overflowing = overflows WHERE w.id = webhook.id;
        END IF;
        RETURN NEXT;
        EXIT WHEN clock_timestamp() >= until;
    END LOOP;
END
$$;
