-- ----------------------------------------------------------------------
-- delivery_state: where a message stands with a webhook.
--
-- Every table is read by its primary key or an index. Each LIMIT 1 keeps the
-- planner from joining whole tables instead. The function has no SET. So
-- PostgreSQL puts its text into the statement that calls it.
--
-- Parameters:
--   webhook_id, lane, message_id  of the delivery
--
-- Returns: one row; none if the webhook was never owed the message, or if the
--          attempt log does not know any more that it was delivered. status is
--          pending (owed); in_flight (owed, and the head of a lane that a
--          worker holds); retrying (owed, and this head of its lane, or the
--          batch at its head, has failed); halted (owed, and its lane is
--          halted); delivered; canceled, superseded (a dead letter of that
--          reason) or dead (one of another reason).
-- Raises:  nothing.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.delivery_state(webhook_id bigint, lane bigint, message_id bigint)
RETURNS TABLE (status text, attempts bigint, last_status_code smallint, last_error_class text, last_error text,
               next_attempt_at timestamptz, settled_at timestamptz, replayed_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT s.status, coalesce(x.attempts, a.attempts), coalesce(a.last_status_code, x.status_code),
           coalesce(a.last_error_class, x.error_class), coalesce(a.last_error, x.last_error),
           CASE WHEN o.owed AND ahead.waits IS NULL AND l.claimed_by IS NULL AND isfinite(l.due_at) THEN l.due_at END,
           CASE WHEN o.owed THEN NULL WHEN x.reason IS NOT NULL THEN x.created_at ELSE a.accepted_at END, o.replayed_at
      FROM (SELECT) AS one
      LEFT JOIN LATERAL (SELECT true AS owed, d.replayed_at
                           FROM pgtopic.deliveries d
                          WHERE d.webhook_id = delivery_state.webhook_id AND d.lane = delivery_state.lane
                            AND d.message_id = delivery_state.message_id
                          LIMIT 1) o ON true
      LEFT JOIN LATERAL (SELECT l.position, l.due_at, l.claimed_by, l.failures, l.halted, l.head_message_id, l.batch_last
                           FROM pgtopic.lanes l
                          WHERE o.owed AND l.webhook_id = delivery_state.webhook_id AND l.lane = delivery_state.lane
                          LIMIT 1) l ON true
      LEFT JOIN LATERAL (SELECT true AS waits
                           FROM pgtopic.deliveries d
                          WHERE d.webhook_id = delivery_state.webhook_id AND d.lane = delivery_state.lane
                            AND d.message_id > l.position AND d.message_id < delivery_state.message_id
                          LIMIT 1) ahead ON true
      LEFT JOIN LATERAL (SELECT x.attempts, x.error_class, x.status_code, x.last_error, x.created_at, x.reason
                           FROM pgtopic.dead_letters x
                          WHERE x.webhook_id = delivery_state.webhook_id AND x.message_id = delivery_state.message_id
                          LIMIT 1) x ON true
      LEFT JOIN LATERAL (SELECT count(*) AS attempts,
                                max(a.attempted_at) FILTER (WHERE a.outcome = 'accepted') AS accepted_at,
                                (array_agg(a.status_code ORDER BY a.attempted_at DESC))[1] AS last_status_code,
                                (array_agg(a.error_class ORDER BY a.attempted_at DESC))[1] AS last_error_class,
                                (array_agg(a.error ORDER BY a.attempted_at DESC))[1] AS last_error
                           FROM pgtopic.attempts a
                          WHERE a.webhook_id = delivery_state.webhook_id
                            AND a.message_id = delivery_state.message_id) a ON true
     CROSS JOIN LATERAL (SELECT CASE WHEN o.owed AND l.halted THEN 'halted'
                                     WHEN o.owed AND l.claimed_by IS NOT NULL AND ahead.waits IS NULL THEN 'in_flight'
                                     WHEN o.owed AND l.failures > 0
                                          AND delivery_state.message_id BETWEEN l.head_message_id
                                                                            AND coalesce(l.batch_last, l.head_message_id)
                                     THEN 'retrying'
                                     WHEN o.owed THEN 'pending'
                                     WHEN x.reason IN ('canceled', 'superseded') THEN x.reason
                                     WHEN x.reason IS NOT NULL THEN 'dead'
                                     WHEN a.accepted_at IS NOT NULL THEN 'delivered' END AS status) s
     WHERE s.status IS NOT NULL
$$;
