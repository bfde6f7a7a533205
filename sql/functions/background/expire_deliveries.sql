-- ----------------------------------------------------------------------
-- expire_deliveries: look at some lanes that no worker holds, and give up what
-- is too old for their webhooks. Each message becomes a dead letter ('expired').
--
-- Only webhooks with max_age_seconds count, also those that are paused or
-- disabled. A lane gives up its first messages, up to the first one that is not
-- too old, and 100 in one call. Replays are not too old. A halted lane is left
-- alone: it waits for an operator.
--
-- One call looks at a bounded number of lanes, in primary-key order. The caller
-- goes on where a call has stopped.
--
-- Parameters: after_webhook, after_lane  where to begin: after this lane
--             at_most                    how many lanes to look at, and how many
--                                        messages to give up; at most 1,000
--             changed_by                 who does it
-- Returns:    one row: the last lane that was looked at, null if the end was
--             reached; how many messages were given up; and whether more of them
--             are known to be too old.
-- Raises, locks: as cancel_deliveries, which does not wait for rows.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.expire_deliveries(
    after_webhook bigint, after_lane bigint, at_most integer, changed_by text,
    OUT last_webhook bigint, OUT last_lane bigint, OUT expired bigint, OUT more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
    in_each CONSTANT integer := 100;
    webhook record;
    found   record;
    room    integer := at_most;
BEGIN
    expired := 0;
    more := false;
    FOR webhook IN
        SELECT w.id, w.max_age_seconds
          FROM pgtopic.webhooks w
         WHERE w.max_age_seconds IS NOT NULL AND w.id >= after_webhook
         ORDER BY w.id
    LOOP
        SELECT count(*) AS lanes, max(looked.lane) AS last_lane,
               (array_agg(old.message_id ORDER BY old.message_id) FILTER (WHERE old.message_id IS NOT NULL))[:at_most] AS ids,
               count(old.message_id) AS olds, coalesce(bool_or(old.number = in_each), false) AS deep
          INTO found
          FROM (SELECT l.lane, l.position
                  FROM pgtopic.lanes l
                 WHERE l.webhook_id = webhook.id
                   AND l.lane > CASE WHEN webhook.id = after_webhook THEN after_lane ELSE -9223372036854775808 END
                 ORDER BY l.lane
                 LIMIT room) looked
          LEFT JOIN LATERAL (
            SELECT o.message_id, o.number
              FROM (SELECT d.message_id, row_number() OVER (ORDER BY d.message_id) AS number,
                           bool_and(d.replayed_at IS NULL AND coalesce(m.is_old, false)) OVER (ORDER BY d.message_id) AS is_old
                      FROM (SELECT d.message_id, d.replayed_at
                              FROM pgtopic.deliveries d
                             WHERE d.webhook_id = webhook.id AND d.lane = looked.lane AND d.message_id > looked.position
                               AND EXISTS (SELECT FROM pgtopic.lanes l
                                            WHERE l.webhook_id = webhook.id AND l.lane = looked.lane
                                              AND l.claimed_by IS NULL AND NOT l.halted)
                             ORDER BY d.message_id
                             LIMIT in_each) d
                      LEFT JOIN LATERAL (
                        SELECT greatest(m.created_at, m.published_at)
                               < clock_timestamp() - make_interval(secs => webhook.max_age_seconds) AS is_old
                          FROM pgtopic.messages m
                         WHERE m.id = d.message_id
                         LIMIT 1) m ON true) o
             WHERE o.is_old) old ON true;
        IF found.olds > 0 THEN
            more := more OR found.deep OR found.olds > at_most;
            SELECT expired + count(*) INTO expired
              FROM pgtopic.cancel_deliveries(webhook.id, found.ids, 'expired', false, changed_by) r
             WHERE r.outcome = 'removed';
        END IF;
        room := room - found.lanes;
        IF found.lanes > 0 AND (room <= 0 OR found.olds > 0) THEN
            last_webhook := webhook.id;
            last_lane := found.last_lane;
            RETURN;
        END IF;
    END LOOP;
END
$$;
