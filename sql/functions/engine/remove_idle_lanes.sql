-- ----------------------------------------------------------------------
-- remove_idle_lanes: delete the rows of held lanes that owe nothing.
--
-- A publisher that found a lane's row holds the stripe until its commit is
-- visible. So the row may be deleted only while this transaction holds the
-- stripe, and only after a new statement has seen that nothing is owed. The
-- stripe is tried once: to wait for it could take as long as a publisher's
-- transaction. A row that somebody has locked is left.
--
-- Parameters: the lanes, each with its token and the newest generation that the
--             worker knows; in primary-key order.
--
-- Returns: outcome 'removed' for each lane whose row was deleted; 'rewound' for
--          each lane whose position a replay had lowered (the row stays, and
--          its position is now below everything that is owed). All other lanes
--          stay: the stripe or the row is locked, something is owed, or the
--          worker does not hold the lane any more. read_lanes tells which.
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

    -- An unordered lane has no stripe: it never owes more than its one message.
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

    -- New statements see what the last holders of the stripes have committed. The rows are locked,
    -- so nobody changes them.
    RETURN QUERY
    DELETE FROM pgtopic.lanes l
     WHERE l.ctid = ANY (ARRAY(
            SELECT h.place
              FROM unnest(places, known) AS h (place, known)
             CROSS JOIN LATERAL (
                SELECT true AS idle
                  FROM pgtopic.lanes x
                 WHERE x.ctid = h.place
                   -- Only a replay adds deliveries at or below the position, and it raises the
                   -- generation: then look at the whole lane. The position is that of the row, not
                   -- the worker's: the row's position moved in the transaction that deleted the
                   -- deliveries up to it.
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
