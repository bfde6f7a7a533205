-- ----------------------------------------------------------------------
-- jobs/count_replayable: what a replay of a range would deal with.
--
-- Parameters: $1 webhook id, $2 the first and $3 the last message id, $4 from
--             and $5 before which time, $6 partition key, $7 type, each or
--             null, $8 whether only dead letters count, $9 count up to this.
-- Returns:    how many messages, how many lanes, how many of these are halted,
--             and the first ids that were found.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH w AS MATERIALIZED (
    SELECT w.id, w.topic_id, w.types IS NOT NULL OR w.filter IS NOT NULL AS judges FROM pgtopic.webhooks w WHERE w.id = $1::bigint
), found AS MATERIALIZED (
    SELECT m.id, m.lane
      FROM pgtopic.messages m
     WHERE m.topic_id = (SELECT w.topic_id FROM w)
       AND m.id >= coalesce($2::bigint, 0) AND m.id <= coalesce($3::bigint, 9223372036854775807)
       AND ($4::timestamptz IS NULL OR m.created_at >= $4::timestamptz)
       AND ($5::timestamptz IS NULL OR m.created_at < $5::timestamptz)
       AND ($6::text IS NULL OR m.partition_key = $6::text) AND ($7::text IS NULL OR m.type = $7::text)
       AND (NOT $8::boolean OR EXISTS (SELECT FROM pgtopic.dead_letters l WHERE l.webhook_id = $1 AND l.message_id = m.id))
       AND (NOT (SELECT w.judges FROM w) OR pgtopic.is_for_webhook($1, m.id))
     LIMIT $9::bigint
)
SELECT count(*) AS matches, count(DISTINCT f.lane) AS lanes,
       (SELECT count(*) FROM pgtopic.lanes l WHERE l.webhook_id = $1 AND l.halted AND l.lane IN (SELECT g.lane FROM found g)) AS halted_lanes,
       ARRAY(SELECT g.id FROM found g ORDER BY g.id LIMIT 10) AS sample_ids
  FROM found f
