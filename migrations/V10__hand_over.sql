-- Handing over: while workers wait to be notified, a message that begins a lane goes to one of them with its notification.
--
-- A worker that is woken must ask which lane is due, and that round trip was most of a message's way. So the publisher
-- makes the lane's row claimed by a worker already, and notifies that worker alone, with the message. Everything else is as
-- before: the row says who may send, and what is not handed over is claimed.
--
-- Any role may LISTEN, to a channel whose name it knows. Each worker's name is random, and kept in a table that nobody but
-- pgtopic's owner may read.

ALTER TABLE workers
    ADD COLUMN channel uuid             DEFAULT gen_random_uuid(),
    ADD COLUMN accepts boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN workers.channel IS 'A secret: the channel on which publishers hand messages over to this worker; null where it could not be kept secret.';
COMMENT ON COLUMN workers.accepts IS 'Whether lanes may be handed over to it: it listens, has room, and is not about to stop.';
COMMENT ON COLUMN lanes.token IS 'Guards every write of the holder: a counter of that worker, or the negative id of the message with which the lane was handed over to it.';

CREATE FUNCTION listen_for_messages(worker uuid) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- listen_for_messages: LISTEN on a worker's own channel.
--
-- A function, so that the channel's name is in no statement that
-- pg_stat_activity shows. pg_stat_statements can be told to keep the
-- statements inside functions too: then the worker has no channel.
--
-- Locks: the worker's row.
-- ----------------------------------------------------------------------
BEGIN
    IF current_setting('pg_stat_statements.track', true) = 'all' THEN
        UPDATE workers w SET channel = NULL WHERE w.id = listen_for_messages.worker;
    ELSE
        EXECUTE format('LISTEN %I', (SELECT w.channel FROM workers w WHERE w.id = listen_for_messages.worker));
    END IF;
END
$$;

CREATE FUNCTION worker_heartbeat(worker uuid, in_flight_now integer, lease_seconds double precision, accepts_lanes boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- worker_heartbeat: say that a worker lives and listens.
--
-- Parameters:
--   worker         the incarnation
--   in_flight_now  its requests in flight
--   lease_seconds  how long it may go without a heartbeat before it is taken
--                  for hung; null leaves its row alone this time
--   accepts_lanes    whether lanes may be handed over to it
--
-- Returns: for how many microseconds more publishers do not NOTIFY because
--          workers poll (0: they do).
-- Raises:  55000 the worker is not registered: it must start over.
-- Locks:   its own row. No flush.
-- ----------------------------------------------------------------------
DECLARE
    now_us    bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    listening bigint := pg_sequence_last_value('listening_until');
    quiet     bigint := pg_sequence_last_value('quiet_until');
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- Rewritten when half of it is used up, or when a step of the clock made it worthless.
    IF listening < now_us + 2000000 OR listening > now_us + 10000000 THEN
        PERFORM setval('listening_until', now_us + 4000000);
    END IF;
    IF lease_seconds IS NOT NULL THEN
        UPDATE workers w SET heartbeat_at = clock_timestamp(), in_flight = in_flight_now,
                             lease = make_interval(secs => lease_seconds), accepts = accepts_lanes
         WHERE w.id = worker;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END IF;
    RETURN CASE WHEN quiet > now_us AND quiet < now_us + 10000000 THEN quiet - now_us ELSE 0 END;
END
$$;

CREATE OR REPLACE FUNCTION worker_heartbeat(worker uuid, in_flight_now integer, lease_seconds double precision) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- worker_heartbeat: the same for a worker of the version before this one.
-- ----------------------------------------------------------------------
SELECT worker_heartbeat(worker, in_flight_now, lease_seconds, false)
$$;


CREATE FUNCTION claim_lanes(
    worker            uuid,
    new_token         bigint,
    webhook_ids       bigint[],
    slots             integer[],
    due_after         timestamptz[],
    messages_per_lane integer,
    payload_budget    bigint,
    handed            bigint[]
) RETURNS TABLE (
    webhook_id    bigint,
    lane          bigint,
    due_at        timestamptz,
    token         bigint,
    "position"    bigint,
    rewinds       integer,
    failures      integer,
    message_id    bigint,
    partition_key text,
    payload       json,
    headers       json,
    created_at    timestamptz,
    state         text
)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- ----------------------------------------------------------------------
-- claim_lanes: take the earliest due lanes of each webhook, and read them.
--
-- A claim leaves due_at as it is: no index entry is written for it, and none
-- is left behind for later looks to walk over.
--
-- Webhook by webhook, so that one webhook's thousands of due lanes are in
-- nobody else's way.
--
-- A lane that is handed over does not arrive if its worker was struck off
-- before the publisher's commit, or if the notification is lost. The first is
-- anybody's at once; the second its worker's own after a second, in which
-- any notification arrives but that of a transaction that was open for long,
-- or this call was. So it keeps its token: should the notification arrive
-- before the answer to this call, both speak of one and the same claim.
--
-- Parameters:
--   worker            the claiming incarnation
--   new_token         a value of its counter, never used before and positive
--   webhook_ids       webhooks with room, and beside each:
--   slots               how many lanes to take at most
--   due_after           where to begin: null is a few seconds back, -infinity
--                       is a full sweep
--   messages_per_lane messages to read of each lane at most
--   payload_budget    bytes of payload to read in all
--   handed            null, or: take lanes that were handed over and did
--                     not arrive, too. The tokens of those that did arrive
--
-- Returns: for each claimed lane its next messages in any order, at least
--          one row (message_id null where nothing is owed). state: 'loaded'; 'deferred' beyond the budget, payload
--          left out; 'missing' where the message itself is gone.
-- Raises:  55000 the worker is not registered (another one took it for
--          dead): it must start over.
-- Locks:   the worker's row FOR KEY SHARE, so that nobody releases a dead
--          worker's lanes while a claim of it is still under way; the lanes
--          FOR UPDATE SKIP LOCKED.
-- ----------------------------------------------------------------------
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    claimed  lanes[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM require_read_committed();
    END IF;
    PERFORM 1 FROM workers w WHERE w.id = claim_lanes.worker FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    -- The CTE is a fence: joined directly, the update may touch more lanes than the LIMIT lets through. A lane that was
    -- changed just before it was locked is left to the next look.
    WITH due AS MATERIALIZED (
        SELECT l.place
          FROM unnest(claim_lanes.webhook_ids, claim_lanes.slots, claim_lanes.due_after)
               AS want (webhook_id, slots, due_after)
          JOIN webhooks w ON w.id = want.webhook_id
           AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
         CROSS JOIN LATERAL (
            SELECT l.ctid AS place
              FROM lanes l
             WHERE l.webhook_id + 0 = want.webhook_id
               AND l.due_at >= coalesce(want.due_after, statement_timestamp() - interval '5 s')
               AND l.due_at <= statement_timestamp()
               AND (l.claimed_by IS NULL
                    OR claim_lanes.handed IS NOT NULL AND l.token < 0
                       AND CASE WHEN l.claimed_by = claim_lanes.worker
                                THEN l.due_at < statement_timestamp() - interval '1 s' AND l.token <> ALL (claim_lanes.handed)
                                ELSE NOT EXISTS (SELECT FROM workers o WHERE o.id = l.claimed_by) END)
             ORDER BY l.due_at
             LIMIT want.slots
               FOR UPDATE SKIP LOCKED
         ) l
    ), taken AS (
        UPDATE lanes l
           SET claimed_by = claim_lanes.worker,
               token = CASE WHEN l.claimed_by = claim_lanes.worker THEN l.token ELSE claim_lanes.new_token END
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NULL THEN
        RETURN;
    END IF;

    -- A new statement, and so a new snapshot: it sees whatever lowered the positions that the update returned.
    RETURN QUERY
    SELECT c.webhook_id, c.lane, c.due_at, c.token, c.position, c.rewinds, c.failures, d.message_id, m.partition_key,
           CASE WHEN sum(m.payload_bytes) OVER read <= payload_budget THEN m.payload END,
           m.headers, m.created_at,
           CASE WHEN m.id IS NULL THEN 'missing'
                WHEN sum(m.payload_bytes) OVER read <= payload_budget THEN 'loaded'
                ELSE 'deferred' END
      FROM unnest(claimed) c
      LEFT JOIN LATERAL (
        SELECT o.message_id
          FROM deliveries o
         WHERE o.webhook_id = c.webhook_id AND o.lane = c.lane AND o.message_id > c.position
         ORDER BY o.message_id
         LIMIT messages_per_lane
      ) d ON true
      LEFT JOIN messages m ON m.id >= d.message_id AND m.id <= d.message_id
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;

CREATE OR REPLACE FUNCTION claim_lanes(
    worker            uuid,
    new_token         bigint,
    webhook_ids       bigint[],
    slots             integer[],
    due_after         timestamptz[],
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id    bigint,
    lane          bigint,
    due_at        timestamptz,
    "position"    bigint,
    rewinds       integer,
    failures      integer,
    message_id    bigint,
    partition_key text,
    payload       json,
    headers       json,
    created_at    timestamptz,
    state         text
)
LANGUAGE sql VOLATILE
SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- claim_lanes: the same for a worker of the version before this one, to which
-- nothing is handed over.
-- ----------------------------------------------------------------------
SELECT c.webhook_id, c.lane, c.due_at, c.position, c.rewinds, c.failures, c.message_id, c.partition_key, c.payload, c.headers,
       c.created_at, c.state
  FROM claim_lanes(worker, new_token, webhook_ids, slots, due_after, messages_per_lane, payload_budget, NULL) c
$$;


CREATE OR REPLACE FUNCTION correct_due_at(
    after_webhook bigint,
    after_due_at  timestamptz,
    lanes_at_most integer
) RETURNS TABLE (corrected bigint, webhook_id bigint, due_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- ----------------------------------------------------------------------
-- correct_due_at: bring back what a step of the clock has left in the future.
--
-- due_at is written with the server's clock. Once that has been stepped back
-- by an hour (or a standby whose clock is behind was promoted), a lane that
-- was ready would wait for an hour. The rule: a lane is due at most
-- wait_seconds from now, and one that is ready at once. Where due_at lies
-- further ahead, it is written anew.
--
-- A look at some of the lanes that are due later, by webhook and due_at; the
-- caller looks on where it ended. In the index there is nothing else behind
-- the present, halted lanes aside, so without lanes that wait it is one probe
-- a webhook.
--
-- Parameters: after_webhook, after_due_at  where the last look ended; 0 and
--                                          -infinity begin anew
--             lanes_at_most                how many to look at
-- Returns:    one row: how many were corrected, and where the look ended; null
--             where it came to the end.
-- Locks:      the lanes it corrects, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM require_read_committed();
    END IF;
    RETURN QUERY
    WITH ahead AS MATERIALIZED (
        SELECT l.at, l.webhook_id, l.due_at, l.wait_seconds
          FROM webhooks w
         CROSS JOIN LATERAL (
            SELECT l.ctid AS at, l.webhook_id, l.due_at, l.wait_seconds
              FROM lanes l
             WHERE l.webhook_id + 0 = w.id
               AND l.due_at > greatest(CASE WHEN w.id = after_webhook THEN after_due_at END,
                                       statement_timestamp() + interval '0.1 s')
               AND l.due_at < 'infinity'
               -- A lane that was handed over may not have arrived: then it is found when it is due.
               AND (l.claimed_by IS NULL OR l.token < 0)
             ORDER BY l.due_at
             LIMIT lanes_at_most
         ) l
         WHERE w.id >= after_webhook
         ORDER BY w.id
         LIMIT lanes_at_most
    ), wrong AS MATERIALIZED (
        SELECT a.at FROM ahead a
         WHERE a.due_at > clock_timestamp() + make_interval(secs => coalesce(a.wait_seconds, 0) + 0.1)
    ), changed AS (
        -- By the rows' places: a join made for a small table would go through all lanes for each of many. A row that
        -- was written since is in another place, and left alone.
        UPDATE lanes l
           SET due_at = clock_timestamp() + make_interval(secs => coalesce(l.wait_seconds, 0))
         WHERE l.ctid = ANY (ARRAY(
            SELECT free.at
              FROM wrong
             CROSS JOIN LATERAL (
                SELECT l.ctid AS at FROM lanes l WHERE l.ctid = wrong.at FOR UPDATE SKIP LOCKED
             ) free))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM changed), a.webhook_id, a.due_at
      FROM (SELECT) one
      LEFT JOIN LATERAL (
        SELECT a.webhook_id, a.due_at FROM ahead a OFFSET lanes_at_most - 1 LIMIT 1
      ) a ON true;
END
$$;

CREATE FUNCTION hand_over(
    message_id    bigint,
    topic_id      bigint,
    lane          bigint,
    partition_key text,
    payload       json,
    headers       json,
    created_at    timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- ----------------------------------------------------------------------
-- hand_over: what messages_fan_out does with a single message while workers
-- wait to be notified.
--
-- The lanes that the message begins are made claimed by the worker that has
-- the least to do; lanes that workers hold stay theirs. Each of these workers
-- is told the message. What cannot be told (its lane waits, it is too long for
-- a notification, has headers, or is not among the first few of its
-- transaction) becomes due as always, and everybody is woken.
--
-- The token of a lane that is handed over is the message's id, negative: no
-- claim has such a one, and no other lane of the same webhook.
--
-- Parameters: the message.
-- Locks:      the new rows; the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
#variable_conflict use_variable
DECLARE
    marks  text := coalesce(current_setting('pgtopic.handed_over', true), '');
    notice text;
    taker  workers;
    owed   bigint[];
    begun  bigint[];
    told   bigint;
    holder record;
BEGIN
    -- A notification holds less than 8,000 bytes: some are left for the webhooks. Most of the queue is left to wake-ups, which are
    -- short. Text that cannot be turned into UTF-8 would end the worker's session.
    IF headers IS NULL AND length(marks) < 10 AND octet_length(payload::text) < 6000
        AND pg_notification_queue_usage() < 0.1 AND current_setting('server_encoding') = 'UTF8'
    THEN
        notice := json_build_array(message_id, lane, (extract(epoch FROM created_at) * 1000000)::bigint, partition_key)::text
                  || E'\n' || payload::text;
        IF octet_length(notice) > 6000 THEN
            notice := NULL;
        END IF;
    END IF;
    -- Its row says each second that it lives. One that hangs keeps its lanes for as long as its lease: the fewer come to it the
    -- better. While an old snapshot is held, each of these seconds leaves a version of the row: then it is not worth the search.
    IF notice IS NOT NULL AND pg_relation_size('workers') <= 262144 THEN
        SELECT w.* INTO taker
          FROM workers w
         WHERE w.accepts AND w.channel IS NOT NULL
           AND w.heartbeat_at > clock_timestamp() - interval '1.5 s'
           AND w.heartbeat_at < clock_timestamp() + interval '1.5 s'
         ORDER BY w.in_flight
         LIMIT 1;
    ELSE
        taker := NULL;
    END IF;

    WITH owed AS MATERIALIZED (
        SELECT w.id AS webhook_id,
               w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND row_number() OVER () <= 30 AS open
          FROM webhooks w
         WHERE w.topic_id = hand_over.topic_id
           AND (w.filter IS NULL OR filter_matches(w.filter, hand_over.payload))
    ), fanned AS (
        INSERT INTO deliveries (webhook_id, lane, message_id)
        SELECT o.webhook_id, hand_over.lane, hand_over.message_id FROM owed o
    ), made AS (
        INSERT INTO lanes AS l (webhook_id, lane, partition_key, due_at, position, claimed_by, token)
        SELECT o.webhook_id, hand_over.lane, hand_over.partition_key, clock_timestamp(), hand_over.message_id - 1,
               CASE WHEN o.open THEN taker.id END,
               CASE WHEN o.open AND taker.id IS NOT NULL THEN -hand_over.message_id END
          FROM owed o
        ON CONFLICT DO NOTHING
        RETURNING l.webhook_id, l.claimed_by
    )
    SELECT (SELECT array_agg(o.webhook_id) FROM owed o),
           (SELECT array_agg(m.webhook_id) FROM made m WHERE m.claimed_by IS NOT NULL)
      INTO owed, begun;
    IF owed IS NULL THEN
        RETURN;
    END IF;

    IF begun IS NOT NULL THEN
        PERFORM set_config('pgtopic.handed_over', marks || '.', true);
        PERFORM pg_notify(taker.channel::text, json_build_array(begun, '{}'::json[])::text || E'\n' || notice);
    END IF;
    told := coalesce(cardinality(begun), 0);
    IF told < cardinality(owed) AND notice IS NOT NULL THEN
        -- Lanes that workers hold. What came before the message in its lane and is still owed, and how often the lane was
        -- rewound, tells the holder whether it knows of all that. Whoever changes either holds the stripe, as we do.
        FOR holder IN
            SELECT w.channel, count(*) AS lanes, json_agg(json_build_array(h.webhook_id, l.rewinds, l.previous)) AS held
              FROM unnest(owed) WITH ORDINALITY AS h (webhook_id, n)
             CROSS JOIN LATERAL (
                SELECT x.claimed_by, x.rewinds,
                       (SELECT max(d.message_id) FROM deliveries d
                         WHERE d.webhook_id = h.webhook_id AND d.lane = hand_over.lane
                           AND d.message_id > x.position AND d.message_id < hand_over.message_id) AS previous
                  FROM lanes x
                 WHERE x.webhook_id = h.webhook_id AND x.lane = hand_over.lane
                 LIMIT 1) l
              JOIN workers w ON w.id = l.claimed_by
             WHERE h.n <= 30 AND w.channel IS NOT NULL AND h.webhook_id <> ALL (coalesce(begun, '{}'))
             GROUP BY w.channel
        LOOP
            told := told + holder.lanes;
            PERFORM set_config('pgtopic.handed_over', marks || '.', true);
            PERFORM pg_notify(holder.channel::text,
                              json_build_array('{}'::bigint[], holder.held)::text || E'\n' || notice);
        END LOOP;
    END IF;
    IF told < cardinality(owed) THEN
        PERFORM wake_workers();
    END IF;
END
$$;

-- Workers read instants with a type that ends on 9999-12-30 at 22:00 UTC; and the bounds must not depend on who publishes.
CREATE OR REPLACE FUNCTION messages_check(message messages, takes_bytes integer) RETURNS messages
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- messages_check: what messages_assign_id does with a message that is not
-- plain.
--
-- Parameters:
--   message      as it was published, with payload_bytes
--   takes_bytes  of its topic, as the caller has read it: null where there is
--                no such topic, -1 where it is paused
--
-- Returns: the message, with defaults for the key and the time where they
--          were null.
-- Raises:  23503 unknown topic, 55000 paused topic, 54000 payload too large,
--          23514 partition_key, headers, idempotency_key or created_at out of
--          bounds.
-- Locks:   none.
-- ----------------------------------------------------------------------
DECLARE
    topic_name text;
BEGIN
    message.partition_key := coalesce(message.partition_key, 'default');
    message.created_at := coalesce(message.created_at, now());
    IF takes_bytes IS NULL THEN
        RAISE EXCEPTION 'topic % does not exist', message.topic_id
            USING ERRCODE = 'foreign_key_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'topic_id',
                  HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    ELSIF message.payload_bytes > takes_bytes THEN
        SELECT t.name INTO topic_name FROM topics t WHERE t.id = message.topic_id;
        IF takes_bytes < 0 THEN
            RAISE EXCEPTION 'topic "%" is paused and takes no messages', topic_name
                USING ERRCODE = 'object_not_in_prerequisite_state', SCHEMA = current_schema(), TABLE = 'messages',
                      COLUMN = 'topic_id';
        END IF;
        RAISE EXCEPTION 'payload of % bytes is larger than the % bytes that topic "%" takes',
            message.payload_bytes, takes_bytes, topic_name
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'payload';
    ELSIF octet_length(message.partition_key) NOT BETWEEN 1 AND 1024 THEN
        RAISE EXCEPTION 'partition_key must have 1 to 1024 bytes, not %', octet_length(message.partition_key)
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'partition_key';
    ELSIF json_typeof(message.headers) <> 'object' THEN
        RAISE EXCEPTION 'headers must be a JSON object, not %', json_typeof(message.headers)
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'headers';
    ELSIF octet_length(message.idempotency_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'idempotency_key must have 1 to 255 bytes, not %', octet_length(message.idempotency_key)
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'idempotency_key';
    ELSIF message.created_at < '0001-01-01 00:00+00' OR message.created_at >= '9999-12-30 00:00+00' THEN
        -- RFC 3339 cannot write it, in one time zone or another, and it is sent to receivers.
        RAISE EXCEPTION 'created_at must be from 0001-01-01 to 9999-12-29 (UTC), not %', message.created_at
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'created_at';
    END IF;
    RETURN message;
END
$$;

-- A name in a function's text must be written out, and the schema's name is not known here. @schema@ stands for it, and
-- @quoted@ for it within a string.
DO $migration$
BEGIN
    EXECUTE replace(replace($functions$

CREATE OR REPLACE FUNCTION messages_assign_id() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $pgtopic$
-- ----------------------------------------------------------------------
-- messages_assign_id: BEFORE INSERT on messages, for each row.
--
-- Looks the topic up, takes the partition's stripe and only then gives
-- the id. The stripe is held to the end of the transaction, so ids rise in
-- commit order within a partition.
--
-- Every expression here costs each publisher, so one tells whether all is
-- plain; what is not, messages_check finds out. No search path is set: every
-- name must be written out, those of operators too.
--
-- Raises: as messages_check.
-- Locks:  advisory (stripe_class(), stripe) to the end of the transaction;
--         none on unordered topics, where no other transaction can know
--         the message's own lane before it is committed.
-- ----------------------------------------------------------------------
DECLARE
    takes_bytes integer;
    stripes     bigint;
BEGIN
    SELECT t.takes_bytes, t.stripes INTO takes_bytes, stripes
      FROM @schema@.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;
    NEW.payload_bytes := pg_catalog.octet_length(NEW.payload::pg_catalog.text);
    IF (NEW.payload_bytes OPERATOR(pg_catalog.<=) takes_bytes
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.>=) 1
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.<=) 1024
        AND NEW.headers IS NULL AND NEW.idempotency_key IS NULL
        AND NEW.created_at OPERATOR(pg_catalog.>=) '0001-01-01 00:00+00'
        AND NEW.created_at OPERATOR(pg_catalog.<) '9999-12-30 00:00+00') IS NOT TRUE
    THEN
        NEW := @schema@.messages_check(NEW, takes_bytes);
    END IF;

    -- Without stripes there is nothing to lock: the function is not called with a null. It returns something otherwise, and an
    -- expression costs less than PERFORM, which runs a query. Only then the id.
    NEW.lane := pg_catalog.hashtextextended(NEW.partition_key, NEW.topic_id);
    IF pg_catalog.pg_advisory_xact_lock(
        '@quoted@'::pg_catalog.regnamespace::pg_catalog.oid::integer,
        (NEW.lane OPERATOR(pg_catalog.&) stripes)::integer) IS NOT NULL
    THEN
        NEW.id := pg_catalog.nextval('@quoted@.message_ids'::pg_catalog.regclass);
    ELSE
        NEW.id := pg_catalog.nextval('@quoted@.message_ids'::pg_catalog.regclass);
        NEW.lane := NEW.id;
    END IF;
    RETURN NEW;
END
$pgtopic$;

CREATE OR REPLACE FUNCTION messages_fan_out() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $pgtopic$
-- ----------------------------------------------------------------------
-- messages_fan_out: AFTER INSERT on messages, for each statement.
--
-- One delivery for every webhook of the topic whose filter lets the message
-- through, paused and disabled ones included; a row in lanes for every lane
-- that has none; then the wake-up, with which a single message is handed
-- over to a worker (hand_over). No search path is set: every name must be
-- written out, those of operators too.
--
-- What is owed is computed once, message by message in the order of their
-- ids (OFFSET 0 makes it a nested loop, whatever the planner expects): so the
-- first of a lane makes its row, and position is below all of them. A sort
-- would cost a single message more than anything else here. No lock
-- depends on the order of the rows: whoever inserts into a lane holds its
-- stripe.
--
-- Under REPEATABLE READ and SERIALIZABLE, ON CONFLICT DO NOTHING raises 40001
-- when the lane's row is newer than the snapshot. The row is there then and
-- cannot go away (its stripe is ours), so that error is good news; but it
-- hides which of the rows it was, hence one by one. Lanes that the snapshot
-- shows cannot be left out beforehand: they may have been retired since.
--
-- Locks: the new rows; with NOTIFY, the commit takes the cluster's
--        notification lock.
-- ----------------------------------------------------------------------
DECLARE
    isolation   pg_catalog.text := pg_catalog.current_setting('transaction_isolation');
    ready       record;
    now_us      bigint;
    quiet_until bigint;
    awake       boolean;
BEGIN
    -- Most publishers need not even ask: nobody listens, or all poll.
    IF pg_catalog.pg_sequence_last_value('@quoted@.listening_until'::pg_catalog.regclass) OPERATOR(pg_catalog.>)
        (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)
    THEN
        now_us := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000;
        quiet_until := pg_catalog.pg_sequence_last_value('@quoted@.quiet_until'::pg_catalog.regclass);
        awake := quiet_until OPERATOR(pg_catalog.<) now_us
              OR quiet_until OPERATOR(pg_catalog.>) (now_us OPERATOR(pg_catalog.+) 10000000);
    END IF;

    IF isolation OPERATOR(pg_catalog.=) 'read committed' OR isolation OPERATOR(pg_catalog.=) 'read uncommitted' THEN
        IF awake THEN
            IF (SELECT pg_catalog.count(*) FROM (SELECT FROM published LIMIT 2) few) OPERATOR(pg_catalog.=) 1 THEN
                PERFORM @schema@.hand_over(p.id, p.topic_id, p.lane, p.partition_key, p.payload, p.headers, p.created_at)
                   FROM published p;
                RETURN NULL;
            END IF;
        END IF;
        WITH owed AS MATERIALIZED (
            SELECT w.id AS webhook_id, p.lane, p.id AS message_id, p.partition_key
              FROM published p
             CROSS JOIN LATERAL (
                SELECT w.id
                  FROM @schema@.webhooks w
                 WHERE w.topic_id OPERATOR(pg_catalog.=) p.topic_id
                   AND (w.filter IS NULL OR @schema@.filter_matches(w.filter, p.payload))
                OFFSET 0) w
        ), fanned AS (
            INSERT INTO @schema@.deliveries (webhook_id, lane, message_id)
            SELECT o.webhook_id, o.lane, o.message_id FROM owed o
        )
        INSERT INTO @schema@.lanes (webhook_id, lane, partition_key, due_at, position)
        SELECT o.webhook_id, o.lane, o.partition_key, pg_catalog.clock_timestamp(), o.message_id OPERATOR(pg_catalog.-) 1
          FROM owed o
        ON CONFLICT DO NOTHING;
    ELSE
        FOR ready IN
            WITH owed AS MATERIALIZED (
                SELECT w.id AS webhook_id, p.lane, p.id AS message_id, p.partition_key
                  FROM published p
                 CROSS JOIN LATERAL (
                    SELECT w.id
                      FROM @schema@.webhooks w
                     WHERE w.topic_id OPERATOR(pg_catalog.=) p.topic_id
                       AND (w.filter IS NULL OR @schema@.filter_matches(w.filter, p.payload))
                    OFFSET 0) w
            ), fanned AS (
                INSERT INTO @schema@.deliveries (webhook_id, lane, message_id)
                SELECT o.webhook_id, o.lane, o.message_id FROM owed o
            )
            SELECT o.webhook_id, o.lane, pg_catalog.min(o.partition_key) AS partition_key,
                   pg_catalog.min(o.message_id) OPERATOR(pg_catalog.-) 1 AS position
              FROM owed o
             GROUP BY o.webhook_id, o.lane
        LOOP
            BEGIN
                INSERT INTO @schema@.lanes (webhook_id, lane, partition_key, due_at, position)
                VALUES (ready.webhook_id, ready.lane, ready.partition_key, pg_catalog.clock_timestamp(), ready.position)
                ON CONFLICT DO NOTHING;
            EXCEPTION WHEN serialization_failure THEN
                -- A plain insert tells that error from one that SERIALIZABLE raises for reasons of its own.
                BEGIN
                    INSERT INTO @schema@.lanes (webhook_id, lane, partition_key, due_at, position)
                    VALUES (ready.webhook_id, ready.lane, ready.partition_key, pg_catalog.clock_timestamp(), ready.position);
                EXCEPTION WHEN unique_violation THEN
                    NULL;
                END;
            END;
        END LOOP;
    END IF;

    IF awake THEN
        PERFORM @schema@.wake_workers();
    END IF;
    RETURN NULL;
END
$pgtopic$;

    $functions$, '@schema@', quote_ident(current_schema())), '@quoted@', replace(quote_ident(current_schema()), '''', ''''''));
END
$migration$;
