-- ----------------------------------------------------------------------
-- remove_idle_lanes: delete the rows of held lanes that owe nothing.
--
-- A publisher that found a lane's row present holds the stripe until its
-- commit is visible. So the row may go only while we hold the stripe, and
-- after a look, in a new statement, that nothing is owed. Waiting for the
-- stripe could take as long as a publisher's transaction: it is only tried. A
-- row that somebody has locked is left, too.
--
-- Parameters: the lanes and guards in primary-key order; generations is the
--             newest that the worker knows.
--
-- Returns: 'removed' lanes, and 'rewound' ones, whose position a replay had
--          lowered (it is below everything owed now). All others stay: the
--          stripe or the row is taken, something is owed, or the lane is not
--          the worker's any more; read_lanes tells.
-- Locks:   advisory (stripe_class(), stripe), tried, until the end of this
--          short transaction; the rows, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.remove_idle_lanes(
    worker      uuid,
    webhook_ids bigint[],
    lanes       bigint[],
    tokens      bigint[],
    generations integer[]
) RETURNS TABLE (webhook_id bigint, lane bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '100ms'
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    class    integer := pgtopic.stripe_class();
    places   tid[];
    known    boolean[];
    removed  integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;

    -- An unordered lane has no stripe: its one message is all that it ever owes.
    SELECT array_agg(x.place), array_agg(x.generation = h.generation)
      INTO places, known
      FROM unnest(remove_idle_lanes.webhook_ids, remove_idle_lanes.lanes, remove_idle_lanes.tokens, remove_idle_lanes.generations)
           AS h (webhook_id, lane, token, generation)
     CROSS JOIN LATERAL (
        SELECT x.ctid AS place, x.stripe, x.generation
          FROM pgtopic.lanes x
         WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane
           AND x.claimed_by = remove_idle_lanes.worker AND x.token = h.token
         LIMIT 1
           FOR UPDATE SKIP LOCKED) x
     WHERE coalesce(pg_try_advisory_xact_lock(class, x.stripe), true);
    IF places IS NULL THEN
        RETURN;
    END IF;

    -- New statements, which see whatever the stripes' last holders have committed. The rows are
    -- locked: nobody changes them.
    RETURN QUERY
    DELETE FROM pgtopic.lanes l
     WHERE l.ctid = ANY (ARRAY(
            SELECT h.place
              FROM unnest(places, known) AS h (place, known)
             CROSS JOIN LATERAL (
                SELECT true AS idle
                  FROM pgtopic.lanes x
                 WHERE x.ctid = h.place
                   -- Only a replay puts something at or below position, and it raises the
                   -- generation: then look at all of the lane. The row's own position, not the
                   -- worker's: it moved in the transaction that deleted what it passed.
                   AND (SELECT true FROM pgtopic.deliveries d
                         WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane
                           AND d.message_id > CASE WHEN h.known THEN x.position ELSE -1 END
                         LIMIT 1) IS NULL
                 LIMIT 1) x))
    RETURNING l.webhook_id, l.lane, 'removed';

    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = cardinality(places) THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE pgtopic.lanes l
       SET position = least(l.position, (SELECT min(d.message_id) - 1 FROM pgtopic.deliveries d
                                          WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane))
     WHERE l.ctid = ANY (ARRAY(SELECT h.place FROM unnest(places, known) AS h (place, known) WHERE NOT h.known))
    RETURNING l.webhook_id, l.lane, 'rewound';
END
$$;
