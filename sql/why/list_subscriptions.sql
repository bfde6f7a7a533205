-- ----------------------------------------------------------------------
-- why/list_subscriptions: where a message, or the head of a partition, stands
-- with each webhook of its topic.
--
-- Every table is read by its primary key or an index, and each look is bounded.
-- The filter is evaluated only where nothing else is known of the message.
-- in_flight counts the claimed lanes of the webhook that owe something, among
-- the 1,000 that were due first.
--
-- Parameters: $1 topic id, $2 lane, $3 message id, or null for the head of each
--             webhook's lane, $4 the most webhooks to return, $5 the only webhook
--             to return, or null for all of the topic.
-- Returns:    one row for each webhook, by rising id; with $3 null only those
--             whose lane owes something.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id AS webhook_id, w.name AS webhook, w.state, w.paused, w.disabled_reason, w.created_at AS webhook_created_at,
       CASE WHEN pgtopic.is_held(w.hold_until) THEN w.hold_until END AS hold_until,
       w.max_in_flight, w.rate_limit_per_second, breaker.opened_at, breaker.next_probe_at, changed.created_at AS changed_at, changed.changed_by,
       job.id AS backfill_job, job.waits_for AS backfill_waits_for,
       m.id AS message_id, m.created_at AS message_created_at, owed.found IS NOT NULL AS owed, owed.replayed_at,
       lane.found IS NOT NULL AS lane_found, CASE WHEN isfinite(lane.due_at) THEN lane.due_at END AS due_at, lane.halted, lane.failures, lane.head_message_id, lane.batch_last,
       lane.last_error AS lane_error, lane.last_status_code AS lane_status_code, lane.claimed_by, lane.claimed_at, head.message_id AS head,
       halt.created_at AS halted_at, in_flight.lanes AS in_flight,
       dead.id AS dead_letter_id, dead.reason AS dead_reason, dead.attempts AS dead_attempts, dead.created_at AS dead_at,
       dead.last_error AS dead_error, dead.status_code AS dead_status_code,
       log.attempts AS logged, log.accepted_at, log.accepted_end, log.last_at, log.last_status_code, log.last_error,
       w.types IS NULL OR pgtopic.type_matches(w.types, m.type) AS types_match,
       CASE WHEN w.filter IS NOT NULL AND owed.found IS NULL AND dead.id IS NULL AND log.accepted_at IS NULL
                 AND octet_length(m.payload::text) <= coalesce(w.filter_limit, pgtopic.filter_limit(w.filter))
            THEN pgtopic.filter_matches(w.filter, m.payload, w.filter_limit)
            ELSE true END AS filter_matches
  FROM (SELECT w.*
          FROM pgtopic.webhooks w
         WHERE w.topic_id = $1::bigint AND ($5::bigint IS NULL OR w.id = $5::bigint)
         ORDER BY w.id
         LIMIT $4::bigint) w
  LEFT JOIN LATERAL (
    SELECT true AS found, l.*
      FROM pgtopic.lanes l
     WHERE l.webhook_id = w.id AND l.lane = $2::bigint
     LIMIT 1) lane ON true
  -- What is owed up to the position is read when the lane is idle, or has no row, so only then.
  LEFT JOIN LATERAL (
    SELECT coalesce((SELECT d.message_id
                       FROM pgtopic.deliveries d
                      WHERE d.webhook_id = w.id AND d.lane = $2::bigint AND d.message_id > lane.position
                      ORDER BY d.message_id
                      LIMIT 1),
                    (SELECT d.message_id
                       FROM pgtopic.deliveries d
                      WHERE d.webhook_id = w.id AND d.lane = $2::bigint
                      ORDER BY d.message_id
                      LIMIT 1)) AS message_id) head ON true
  -- The message itself may be gone.
  LEFT JOIN LATERAL (
    SELECT coalesce(m.id, asked.id) AS id, m.created_at, m.type, m.payload
      FROM (SELECT coalesce($3::bigint, head.message_id) AS id) asked
      LEFT JOIN pgtopic.messages m ON m.id = asked.id
     LIMIT 1) m ON true
  LEFT JOIN LATERAL (
    SELECT true AS found, d.replayed_at
      FROM pgtopic.deliveries d
     WHERE d.webhook_id = w.id AND d.lane = $2::bigint AND d.message_id = m.id
     LIMIT 1) owed ON true
  LEFT JOIN LATERAL (
    SELECT x.id, x.reason, x.attempts, x.created_at, x.last_error, x.status_code
      FROM pgtopic.dead_letters x
     WHERE x.webhook_id = w.id AND x.message_id = m.id
     LIMIT 1) dead ON true
  LEFT JOIN LATERAL (
    SELECT count(*) AS attempts,
           max(a.attempted_at) FILTER (WHERE a.outcome = 'accepted') AS accepted_at,
           max(a.attempted_at + a.duration_us * interval '1 microsecond') FILTER (WHERE a.outcome = 'accepted') AS accepted_end,
           max(a.attempted_at) AS last_at,
           (array_agg(a.status_code ORDER BY a.attempted_at DESC))[1] AS last_status_code,
           (array_agg(a.error ORDER BY a.attempted_at DESC))[1] AS last_error
      FROM pgtopic.attempts a
     WHERE a.webhook_id = w.id AND a.message_id = m.id) log ON true
  LEFT JOIN LATERAL (
    SELECT c.created_at, c.changed_by
      FROM (SELECT c.id, c.kind, c.created_at, c.changed_by
              FROM pgtopic.changes c
             WHERE (w.paused OR w.disabled_reason IS NOT NULL) AND c.webhook_id = w.id
             ORDER BY c.id DESC
             LIMIT 1000) c
     WHERE c.kind = CASE WHEN w.disabled_reason IS NOT NULL THEN 'webhook.disabled' ELSE 'webhook.paused' END
     ORDER BY c.id DESC
     LIMIT 1) changed ON true
  LEFT JOIN LATERAL (
    SELECT c.created_at
      FROM (SELECT c.id, c.kind, c.lane, c.created_at
              FROM pgtopic.changes c
             WHERE lane.halted AND c.webhook_id = w.id
             ORDER BY c.id DESC
             LIMIT 1000) c
     WHERE c.kind = 'lane.halted' AND c.lane = $2::bigint
     ORDER BY c.id DESC
     LIMIT 1) halt ON true
  LEFT JOIN LATERAL (
    SELECT b.opened_at, b.next_probe_at
      FROM pgtopic.breakers b
     WHERE b.webhook_id = w.id AND b.state = 'open'
     LIMIT 1) breaker ON true
  LEFT JOIN LATERAL (
    SELECT j.id, j.waits_for
      FROM pgtopic.jobs j
     WHERE w.state = 'starting' AND j.state IN ('queued', 'running', 'canceling') AND j.kind = 'backfill' AND j.webhook_id = w.id
     ORDER BY j.id
     LIMIT 1) job ON true
  -- A claim leaves due_at as it was, so claimed lanes are among those that were due first.
  LEFT JOIN LATERAL (
    SELECT count(*) AS lanes
      FROM (SELECT c.lane, c.position, c.claimed_by
              FROM pgtopic.lanes c
             WHERE lane.due_at <= clock_timestamp() AND lane.claimed_by IS NULL AND c.webhook_id + 0 = w.id
             ORDER BY c.due_at
             LIMIT 1000) c
     WHERE c.claimed_by IS NOT NULL
       AND EXISTS (SELECT FROM pgtopic.deliveries d
                    WHERE d.webhook_id = w.id AND d.lane = c.lane AND d.message_id > c.position)) in_flight ON true
 WHERE m.id IS NOT NULL
 ORDER BY w.id
