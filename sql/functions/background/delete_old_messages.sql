-- ----------------------------------------------------------------------
-- delete_old_messages: look at some messages in the order of their ids, and
-- delete those that are past their retention, and those whose topic is gone.
--
-- A message that is owed stays, and so does the message of a dead letter, unless
-- it was superseded: such dead letters go with their message. One call looks at
-- a bounded number of rows. The caller goes on where a call has stopped. Ids
-- rise roughly with created_at, so the oldest messages come first.
--
-- Parameters: after         look at messages with a higher id
--             portion       how many to look at, at most
--             default_days  the retention of topics that have none of their
--                           own; 0 keeps their messages for ever
-- Returns:    one row: the last id that was looked at (null if there was none),
--             how many messages were looked at, how many were deleted, and
--             whether one of them is older than the shortest retention
-- Raises:     25000 not at READ COMMITTED.
-- Locks:      the messages past their retention, FOR UPDATE SKIP LOCKED. A
--             message that a replay reads (FOR KEY SHARE) stays. What is owed
--             is looked up after that, in a statement of its own: so a replay
--             that has just been committed is seen. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.delete_old_messages(
    after bigint, portion integer, default_days integer,
    OUT last_id bigint, OUT seen bigint, OUT deleted bigint, OUT any_old boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    fallback interval := nullif(delete_old_messages.default_days, 0) * interval '1 day';
    shortest timestamptz;
    expired  bigint[];
    locked   bigint[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    -- A retention of 0 keeps messages for ever, as no retention does where there is no default.
    SELECT now() - min(nullif(coalesce(t.retention, fallback), interval '0')) INTO shortest FROM pgtopic.topics t;

    SELECT max(m.id), count(*), coalesce(bool_or(m.created_at < shortest), false),
           array_agg(m.id) FILTER (WHERE t.id IS NULL
                                      OR m.created_at < now() - nullif(coalesce(t.retention, fallback), interval '0'))
      INTO last_id, seen, any_old, expired
      FROM (SELECT o.id, o.topic_id, o.created_at
              FROM pgtopic.messages o
             WHERE o.id > delete_old_messages.after
             ORDER BY o.id
             LIMIT delete_old_messages.portion) m
      LEFT JOIN pgtopic.topics t ON t.id = m.topic_id;

    SELECT array_agg(m.id) INTO locked
      FROM (SELECT l.id FROM pgtopic.messages l WHERE l.id = ANY (expired) FOR UPDATE SKIP LOCKED) m;

    WITH gone AS (
        DELETE FROM pgtopic.messages m
         WHERE m.id = ANY (locked)
           AND NOT EXISTS (
                SELECT
                  FROM pgtopic.webhooks w
                  JOIN pgtopic.deliveries d ON d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
                 WHERE w.topic_id = m.topic_id)
           AND NOT EXISTS (SELECT FROM pgtopic.dead_letters l WHERE l.message_id = m.id AND l.reason <> 'superseded')
        RETURNING m.id
    ), letters AS (
        DELETE FROM pgtopic.dead_letters x
         WHERE x.ctid = ANY (ARRAY(
            SELECT l.place
              FROM gone
             CROSS JOIN LATERAL (SELECT l.ctid AS place FROM pgtopic.dead_letters l
                                  WHERE l.message_id = gone.id FOR UPDATE SKIP LOCKED) l))
    )
    SELECT count(*) INTO deleted FROM gone;
END
$$;
