-- ----------------------------------------------------------------------
-- jobs/count_cancelable: what a cancel of a range would deal with.
--
-- Parameters: $1 webhook id, $2 the first and $3 the last message id, $4 from
--             and $5 before which time, $6 partition key, $7 type, each or
--             null, $8 count up to this.
-- Returns:    as jobs/count_replayable, of what the webhook is owed.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH found AS MATERIALIZED (
    SELECT d.message_id AS id, d.lane
      FROM pgtopic.deliveries d
     WHERE d.webhook_id = $1::bigint
       AND d.message_id >= coalesce($2::bigint, 0) AND d.message_id <= coalesce($3::bigint, 9223372036854775807)
       AND ($4::timestamptz IS NULL AND $5::timestamptz IS NULL AND $6::text IS NULL AND $7::text IS NULL
            OR EXISTS (SELECT
                         FROM pgtopic.messages m
                        WHERE m.id = d.message_id
                          AND ($4::timestamptz IS NULL OR m.created_at >= $4::timestamptz)
                          AND ($5::timestamptz IS NULL OR m.created_at < $5::timestamptz)
                          AND ($6::text IS NULL OR m.partition_key = $6::text) AND ($7::text IS NULL OR m.type = $7::text)))
     LIMIT $8::bigint
)
SELECT count(*) AS matches, count(DISTINCT f.lane) AS lanes,
       (SELECT count(*) FROM pgtopic.lanes l WHERE l.webhook_id = $1 AND l.halted AND l.lane IN (SELECT g.lane FROM found g)) AS halted_lanes,
       ARRAY(SELECT g.id FROM found g ORDER BY g.id LIMIT 10) AS sample_ids
  FROM found f
