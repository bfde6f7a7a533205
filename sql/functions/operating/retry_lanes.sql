-- ----------------------------------------------------------------------
-- retry_lanes: make lanes of a webhook due now, with no failures. Halted lanes
-- are released.
--
-- What a lane owes does not change. So no stripe is needed.
--
-- Parameters:
--   webhook_id  the webhook
--   lanes       at most 1,000 of them
--   changed_by  who asks for it
--
-- Returns: how many lanes were changed. A lane that a worker holds is not, nor
--          one whose row somebody has locked: it is sent, or is about to be.
-- Raises:  25000 not at READ COMMITTED.
-- Locks:   the lanes, SKIP LOCKED. Notifies.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.retry_lanes(webhook_id bigint, lanes bigint[], changed_by text) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_variable
DECLARE
    held    pgtopic.lanes[];
    retried bigint;
BEGIN
    PERFORM pgtopic.require_read_committed();
    SELECT array_agg(x.l) INTO held
      FROM (SELECT DISTINCT asked.lane FROM unnest(lanes) AS asked (lane) ORDER BY asked.lane) asked
     CROSS JOIN LATERAL (
        SELECT l
          FROM pgtopic.lanes l
         WHERE l.webhook_id = retry_lanes.webhook_id AND l.lane = asked.lane AND l.claimed_by IS NULL
         LIMIT 1
           FOR UPDATE SKIP LOCKED) x;
    UPDATE pgtopic.lanes l
       SET failures = 0, halted = false, due_at = least(l.due_at, clock_timestamp()), wait_seconds = NULL,
           head_message_id = NULL, batch_last = NULL, batch_count = NULL,
           last_error = NULL, last_error_class = NULL, last_status_code = NULL
      FROM unnest(held) h
     WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane;
    GET DIAGNOSTICS retried = ROW_COUNT;
    INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, lane, partition_key, message_id, reason, changed_by)
    SELECT 'lane.resumed', w.topic_id, h.webhook_id, h.lane, h.partition_key, h.head_message_id, 'it is tried again', changed_by
      FROM unnest(held) h
     CROSS JOIN LATERAL (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = h.webhook_id LIMIT 1) w
     WHERE h.halted;
    -- A transaction sends no more notifications than these.
    PERFORM pgtopic.notify_workers(d.message_id, h.stripe)
       FROM (SELECT * FROM unnest(held) LIMIT 11) h
      CROSS JOIN LATERAL (SELECT d.message_id FROM pgtopic.deliveries d
                           WHERE d.webhook_id = h.webhook_id AND d.lane = h.lane AND d.message_id > h.position
                           ORDER BY d.message_id LIMIT 1) d;
    RETURN retried;
END
$$;
