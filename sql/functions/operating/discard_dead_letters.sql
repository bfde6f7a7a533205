-- ----------------------------------------------------------------------
-- discard_dead_letters: delete some dead letters.
--
-- Parameters: at most 1,000 ids.
-- Returns: a row for each id, with its outcome: 'discarded'; 'absent': there is
--          no such dead letter (any more); 'row_locked': somebody replays or
--          discards it now: try again later.
-- Locks:   the dead letters, SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.discard_dead_letters(dead_letter_ids bigint[])
RETURNS TABLE (dead_letter_id bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
    discarded bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM pgtopic.dead_letters x
         WHERE x.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(dead_letter_ids) AS asked (id)
             CROSS JOIN LATERAL (SELECT x.ctid AS place FROM pgtopic.dead_letters x WHERE x.id = asked.id
                                  LIMIT 1 FOR UPDATE SKIP LOCKED) x))
        RETURNING x.id
    )
    SELECT array_agg(g.id) INTO discarded FROM gone g;
    RETURN QUERY
    SELECT asked.id, CASE WHEN asked.id = ANY (discarded) THEN 'discarded'
                          WHEN EXISTS (SELECT FROM pgtopic.dead_letters x WHERE x.id = asked.id) THEN 'row_locked'
                          ELSE 'absent' END
      FROM unnest(dead_letter_ids) AS asked (id);
END
$$;
