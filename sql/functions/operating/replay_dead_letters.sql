-- ----------------------------------------------------------------------
-- replay_dead_letters: deliver some dead letters once more.
--
-- As owe_deliveries. A dead letter is deleted in the transaction that makes its
-- message owed. Filter and types of the webhook do not count.
--
-- Parameters:
--   dead_letter_ids  each once; at most 10,000
--   waits            as lock_lane: true for one dead letter only
--
-- Returns: a row for each id, by rising message id, with its outcome: as
--          owe_deliveries; 'absent': there is no such dead letter (any more).
--          If it is not 'owed', the dead letter stays.
-- Raises:  25000 not at READ COMMITTED; as lock_lane.
-- Locks:   as owe_deliveries. Waits end after 1 s.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.replay_dead_letters(dead_letter_ids bigint[], waits boolean)
RETURNS TABLE (dead_letter_id bigint, webhook_id bigint, message_id bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
SET lock_timeout = '1s'
AS $$
#variable_conflict use_column
DECLARE
    found     pgtopic.deliveries[];
    found_ids bigint[];
BEGIN
    PERFORM pgtopic.require_read_committed();
    SELECT coalesce(array_agg((x.webhook_id, x.lane, x.message_id, clock_timestamp())::pgtopic.deliveries
                              ORDER BY x.webhook_id, x.lane, x.message_id), '{}'),
           coalesce(array_agg(x.id ORDER BY x.webhook_id, x.lane, x.message_id), '{}')
      INTO found, found_ids
      FROM unnest(dead_letter_ids) AS asked (id)
     CROSS JOIN LATERAL (SELECT x.id, x.webhook_id, x.lane, x.message_id FROM pgtopic.dead_letters x WHERE x.id = asked.id LIMIT 1) x;
    RETURN QUERY
    SELECT a.id, a.webhook_id, a.message_id, a.outcome
      FROM unnest(found, found_ids, pgtopic.owe_deliveries(found, true, waits))
           AS a (webhook_id, lane, message_id, replayed_at, id, outcome)
     UNION ALL
    SELECT g.id, NULL, NULL, 'absent'
      FROM (SELECT asked.id FROM unnest(dead_letter_ids) AS asked (id) EXCEPT SELECT f.id FROM unnest(found_ids) AS f (id)) g
     ORDER BY 3, 2;
END
$$;
