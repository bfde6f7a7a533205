-- The worker's statements for less: checks as expressions instead of queries, and one array of rows instead of six; and
-- with plans that stay good, whatever they were made on.
--
-- Plans are kept for the session. One that was made while a table was empty, and known to be, joined by reading all
-- of the table and comparing each row with each lane: right for no rows, and minutes for a backlog of 50,000. So rows are
-- looked up one by one in subqueries with a LIMIT, which no plan can turn around, and changed by the places where they
-- were found (ctid = ANY (ARRAY(...))). A row that somebody else has changed since is in another place, and left
-- alone; each use says why that does no harm.

-- Both indexes of lanes began with webhook_id, and a lookup of a lane could be made by either; by this one it goes
-- through all lanes of the webhook. By an expression, only who writes the same expression can use it.
DROP INDEX lanes_due;
CREATE INDEX lanes_due ON lanes ((webhook_id + 0), due_at);
COMMENT ON INDEX lanes_due IS 'For looks at what is due: webhook_id + 0 = ... ORDER BY due_at.';

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
-- Parameters:
--   worker            the claiming incarnation
--   new_token         a value of its counter, never used before
--   webhook_ids       webhooks with room, and beside each:
--   slots               how many lanes to take at most
--   due_after           where to begin: null is a few seconds back, -infinity
--                       is a full sweep
--   messages_per_lane messages to read of each lane at most
--   payload_budget    bytes of payload to read in all
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
               AND l.claimed_by IS NULL
             ORDER BY l.due_at
             LIMIT want.slots
               FOR UPDATE SKIP LOCKED
         ) l
    ), taken AS (
        UPDATE lanes l
           SET claimed_by = claim_lanes.worker, token = claim_lanes.new_token
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NULL THEN
        RETURN;
    END IF;

    -- A new statement, and so a new snapshot: it sees whatever lowered the positions that the update returned.
    RETURN QUERY
    SELECT c.webhook_id, c.lane, c.due_at, c.position, c.rewinds, c.failures, d.message_id, m.partition_key,
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

CREATE OR REPLACE FUNCTION read_lanes(
    worker            uuid,
    webhook_ids       bigint[],
    lanes             bigint[],
    tokens            bigint[],
    positions         bigint[],
    rewinds           integer[],
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id    bigint,
    lane          bigint,
    "position"    bigint,
    rewinds_now   integer,
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
-- read_lanes: the next messages of lanes that the worker holds.
--
-- Parameters:
--   worker            the holder
--   webhook_ids, lanes, tokens   the lanes and the guard of each
--   positions         read what comes after; where a replay has rewound the
--                     lane since rewinds, its row's position counts instead
--   rewinds           the newest value the worker knows
--   messages_per_lane messages to read of each lane at most
--   payload_budget    bytes of payload to read in all; the first is always read
--
-- Returns: as claim_lanes; the position that was read from. Lanes that the
--          worker no longer holds are absent.
-- Locks:   none.
-- ----------------------------------------------------------------------
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT l.webhook_id, l.lane, l.position, l.rewinds, d.message_id, m.partition_key,
           CASE WHEN sum(m.payload_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN m.payload END,
           m.headers, m.created_at,
           CASE WHEN m.id IS NULL THEN 'missing'
                WHEN sum(m.payload_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN 'loaded'
                ELSE 'deferred' END
      FROM (
        SELECT h.webhook_id, h.lane, h.rewinds,
               CASE WHEN h.rewinds = held.rewinds THEN held.position ELSE h.position END AS position
          FROM unnest(read_lanes.webhook_ids, read_lanes.lanes, read_lanes.tokens, read_lanes.positions, read_lanes.rewinds)
               AS held (webhook_id, lane, token, position, rewinds)
         CROSS JOIN LATERAL (
            SELECT h.webhook_id, h.lane, h.rewinds, h.position
              FROM lanes h
             WHERE h.webhook_id = held.webhook_id AND h.lane = held.lane
               AND h.claimed_by = read_lanes.worker AND h.token = held.token
             LIMIT 1) h
      ) l
      LEFT JOIN LATERAL (
        SELECT o.message_id
          FROM deliveries o
         WHERE o.webhook_id = l.webhook_id AND o.lane = l.lane AND o.message_id > l.position
         ORDER BY o.message_id
         LIMIT messages_per_lane
      ) d ON true
      LEFT JOIN messages m ON m.id >= d.message_id AND m.id <= d.message_id
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;

CREATE OR REPLACE FUNCTION retire_lanes(
    worker      uuid,
    webhook_ids bigint[],
    lanes       bigint[],
    tokens      bigint[],
    rewinds     integer[]
) RETURNS TABLE (webhook_id bigint, lane bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '50ms'
AS $$
-- ----------------------------------------------------------------------
-- retire_lanes: delete the rows of held lanes that ran dry.
--
-- A publisher that found a lane's row present holds the stripe until its
-- commit is visible. So the row may go only while we hold the stripe, and
-- after a look, in a new statement, that nothing is owed. Waiting for the
-- stripe could take as long as a publisher's transaction: it is only tried.
--
-- Parameters: the lanes and guards in primary-key order; rewinds is the
--             newest the worker knows.
--
-- Returns: 'retired' lanes, and 'rewound' ones, whose position a replay had
--          lowered (it is below everything owed now). All others stay: the
--          stripe is taken, something is owed, or the lane is not the
--          worker's any more; read_lanes tells.
-- Locks:   advisory (stripe_class(), stripe), tried, until the end of this
--          short transaction; the rows it deletes, for which it waits no
--          longer than publishers can wait for the stripes. No flush.
-- ----------------------------------------------------------------------
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    class    integer := quote_ident(current_schema())::regnamespace::oid::integer;
    locked   boolean[];
    retired  integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM require_read_committed();
    END IF;

    SELECT array_agg(pg_try_advisory_xact_lock(class, (h.lane & 1023)::integer) ORDER BY h.n)
      INTO locked
      FROM unnest(retire_lanes.lanes) WITH ORDINALITY AS h (lane, n);

    -- New statements, which see whatever the stripes' last holders have committed.
    RETURN QUERY
    DELETE FROM lanes l
     WHERE l.claimed_by = retire_lanes.worker
       -- Nothing but a change of hands can come in between, and a lane that owes nothing may go whoever holds it.
       AND l.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(retire_lanes.webhook_ids, retire_lanes.lanes, retire_lanes.tokens, retire_lanes.rewinds, locked)
                   AS h (webhook_id, lane, token, rewinds, locked)
             CROSS JOIN LATERAL (
                SELECT x.ctid AS place
                  FROM lanes x
                 WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane
                   AND x.claimed_by = retire_lanes.worker AND x.token = h.token
                   -- Only a replay puts something at or below position, and it counts rewinds up: then look at all of the
                   -- lane. The row's own position, not the worker's: it moved in the transaction that deleted what it
                   -- passed.
                   AND (SELECT true FROM deliveries d
                         WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane
                           AND d.message_id > CASE WHEN x.rewinds = h.rewinds THEN x.position ELSE -1 END
                         LIMIT 1) IS NULL
                 LIMIT 1) x
             WHERE h.locked))
    RETURNING l.webhook_id, l.lane, 'retired';

    GET DIAGNOSTICS retired = ROW_COUNT;
    IF retired = cardinality(retire_lanes.lanes) THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE lanes l
       SET position = least(l.position, (SELECT min(d.message_id) - 1 FROM deliveries d
                                          WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane))
     WHERE l.claimed_by = retire_lanes.worker
       AND l.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(retire_lanes.webhook_ids, retire_lanes.lanes, retire_lanes.tokens, retire_lanes.rewinds, locked)
                   AS h (webhook_id, lane, token, rewinds, locked)
             CROSS JOIN LATERAL (
                SELECT x.ctid AS place
                  FROM lanes x
                 WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane
                   AND x.claimed_by = retire_lanes.worker AND x.token = h.token AND x.rewinds <> h.rewinds
                 LIMIT 1) x
             WHERE h.locked))
    RETURNING l.webhook_id, l.lane, 'rewound';
END
$$;
