-- ----------------------------------------------------------------------
-- webhook_backlog: what a webhook is owed, and the states of its lanes.
--
-- The head of each lane is read for the oldest message. What is owed is counted
-- lane by lane, from each lane's position. So the count walks over no dead rows.
--
-- Parameters:
--   webhook         the webhook
--   lanes_at_most   how many lanes to look at
--   owed_at_most    where counting stops, also for dead letters
--
-- Returns: one row.
--   owed, owed_capped    how many deliveries; whether there may be more, or
--                        lanes that were not looked at
--   oldest_owed_at       when the oldest of them was published; if capped, the
--                        oldest that was seen
--   ready, claimed, waiting, halted
--                        how many lanes are in each state
--   dead_letters, dead_letters_capped
--                        without those that were canceled or superseded; twice
--                        owed_at_most are looked at, newest first
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
    heads  bigint;
    seen   bigint;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE l.claimed_by IS NOT NULL), count(*) FILTER (WHERE l.claimed_by IS NULL AND l.halted),
           count(*) FILTER (WHERE l.claimed_by IS NULL AND NOT l.halted AND l.due_at > clock_timestamp()),
           count(l.head), min(l.head)
      INTO seen, claimed, halted, waiting, heads, oldest
      FROM (SELECT l.claimed_by, l.halted, l.due_at,
                   (SELECT d.message_id
                      FROM pgtopic.deliveries d
                     WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position
                     ORDER BY d.lane, d.message_id
                     LIMIT 1) AS head
              FROM pgtopic.lanes l
             WHERE l.webhook_id = webhook
             LIMIT lanes_at_most) l;
    ready := seen - claimed - halted - waiting;
    IF heads >= owed_at_most THEN
        owed := heads;
        owed_capped := true;
    ELSE
        SELECT count(*) INTO owed
          FROM (SELECT
                  FROM (SELECT l.lane, l.position FROM pgtopic.lanes l WHERE l.webhook_id = webhook LIMIT lanes_at_most) l
                 CROSS JOIN LATERAL (SELECT
                                       FROM pgtopic.deliveries d
                                      WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position
                                      LIMIT owed_at_most + 1) d
                 LIMIT owed_at_most + 1) d;
        owed_capped := owed > owed_at_most OR seen >= lanes_at_most;
    END IF;
    owed := least(owed, owed_at_most);
    SELECT m.created_at INTO oldest_owed_at FROM pgtopic.messages m WHERE m.id = oldest;
    SELECT count(*), count(*) FILTER (WHERE x.reason NOT IN ('canceled', 'superseded')) INTO seen, dead_letters
      FROM (SELECT x.reason
              FROM pgtopic.dead_letters x
             WHERE x.webhook_id = webhook
             ORDER BY x.id DESC
             LIMIT 2 * owed_at_most) x;
    dead_letters_capped := dead_letters > owed_at_most OR seen = 2 * owed_at_most;
    dead_letters := least(dead_letters, owed_at_most);
    RETURN NEXT;
END
$$;
