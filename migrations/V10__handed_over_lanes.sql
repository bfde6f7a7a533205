-- Handing over: while workers wait to be notified, a message that begins a lane goes to one of them with its notification.
--
-- A worker that is woken must ask which lane is due, and that round trip was most of a message's way. So the publisher
-- makes the lane's row claimed by a worker already, and notifies that worker alone, with the message. Everything else is as
-- before: the row says who may send, and what is not handed over is claimed. Here is the workers' part.
--
-- Any role may LISTEN, to a channel whose name it knows. Each worker's name is random, and kept in a table that nobody but
-- pgtopic's owner may read.

ALTER TABLE workers
    ADD COLUMN channel uuid,
    ADD COLUMN accepts boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN workers.channel IS 'A secret: the channel on which this worker listens for messages that are handed over; null if it does not.';
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
-- statements inside functions too: then the worker gets no channel.
--
-- Locks: the worker's row.
-- ----------------------------------------------------------------------
DECLARE
    secret uuid := gen_random_uuid();
BEGIN
    IF current_setting('pg_stat_statements.track', true) IS DISTINCT FROM 'all' THEN
        EXECUTE format('LISTEN %I', secret);
        UPDATE workers w SET channel = secret WHERE w.id = listen_for_messages.worker;
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
--   accepts_lanes  whether lanes may be handed over to it
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
