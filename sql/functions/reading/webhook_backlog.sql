-- ----------------------------------------------------------------------
-- webhook_backlog: what a webhook is owed, and the states of its lanes.
--
-- What is owed is counted lane by lane, from each lane's position. So the count
-- walks over no dead rows. If counting stops early, the heads of the lanes alone
-- are read for the oldest message.
--
-- Parameters:
--   webhook         the webhook
--   lanes_at_most   how many lanes to look at
--   owed_at_most    where counting stops, also for dead letters
--
-- Returns: one row.
--   owed, owed_capped    how many deliveries; whether there are more, or lanes
--                        that were not looked at
--   oldest_owed_at       when the oldest of them was published; if capped, the
--                        oldest that was seen
--   ready, claimed, waiting, halted
--                        how many lanes are in each state
--   dead_letters, dead_letters_capped
--                        without those that were canceled or superseded
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhook_backlog(webhook bigint, lanes_at_most bigint, owed_at_most bigint)
RETURNS TABLE (owed bigint, owed_capped boolean, oldest_owed_at timestamptz, ready bigint, claimed bigint, waiting bigint,
               halted bigint, dead_letters bigint, dead_letters_capped boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    oldest bigint;
    seen   bigint;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE l.claimed_by IS NOT NULL), count(*) FILTER (WHERE l.claimed_by IS NULL AND l.halted),
           count(*) FILTER (WHERE l.claimed_by IS NULL AND NOT l.halted AND l.due_at > clock_timestamp())
      INTO seen, claimed, halted, waiting
      FROM (SELECT l.claimed_by, l.halted, l.due_at FROM pgtopic.lanes l WHERE l.webhook_id = webhook LIMIT lanes_at_most + 1) l;
    ready := seen - claimed - halted - waiting;
    SELECT count(*), min(d.message_id) INTO owed, oldest
      FROM (SELECT d.message_id
              FROM (SELECT l.lane, l.position FROM pgtopic.lanes l WHERE l.webhook_id = webhook LIMIT lanes_at_most) l
             CROSS JOIN LATERAL (SELECT d.message_id
                                   FROM pgtopic.deliveries d
                                  WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position
                                  ORDER BY d.lane, d.message_id
                                  LIMIT owed_at_most + 1) d
             LIMIT owed_at_most + 1) d;
    IF owed > owed_at_most THEN
        SELECT min(d.message_id) INTO oldest
          FROM (SELECT l.lane, l.position FROM pgtopic.lanes l WHERE l.webhook_id = webhook LIMIT lanes_at_most) l
         CROSS JOIN LATERAL (SELECT d.message_id
                               FROM pgtopic.deliveries d
                              WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position
                              ORDER BY d.lane, d.message_id
                              LIMIT 1) d;
    END IF;
    owed_capped := owed > owed_at_most OR seen > lanes_at_most;
    owed := least(owed, owed_at_most);
    -- A lane beyond the limit was counted to see that there is one.
    ready := greatest(ready - greatest(seen - lanes_at_most, 0), 0);
    SELECT m.created_at INTO oldest_owed_at FROM pgtopic.messages m WHERE m.id = oldest;
    SELECT count(*) INTO dead_letters
      FROM (SELECT
              FROM pgtopic.dead_letters x
             WHERE x.webhook_id = webhook AND x.reason NOT IN ('canceled', 'superseded')
             LIMIT owed_at_most + 1) x;
    dead_letters_capped := dead_letters > owed_at_most;
    dead_letters := least(dead_letters, owed_at_most);
    RETURN NEXT;
END
$$;
