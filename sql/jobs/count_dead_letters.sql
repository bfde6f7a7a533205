-- ----------------------------------------------------------------------
-- jobs/count_dead_letters: what a job about dead letters would deal with.
--
-- Parameters: $1 topic id and $2 webhook id, each or null, $3 the filter as
--             JSON, $4 count up to this.
-- Returns:    as jobs/count_replayable; sample_ids are of dead letters.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH wanted AS MATERIALIZED (
    SELECT * FROM pgtopic.dead_letter_filter($3::text::json)
), found AS MATERIALIZED (
    SELECT x.id, x.webhook_id, x.lane
      FROM wanted w
     CROSS JOIN pgtopic.dead_letters x
     WHERE ($1::bigint IS NULL OR x.topic_id = $1::bigint)
       AND ($2::bigint IS NULL OR x.webhook_id = $2::bigint)
       AND pgtopic.dead_letter_fits(x, w.partition_key, w.type, w.reason, w.error_class, w.status_code, w.since, w.before)
     LIMIT $4::bigint
), of_lanes AS MATERIALIZED (
    SELECT f.webhook_id, f.lane FROM found f GROUP BY f.webhook_id, f.lane
)
SELECT (SELECT count(*) FROM found) AS matches, (SELECT count(*) FROM of_lanes) AS lanes,
       (SELECT count(*) FROM of_lanes o JOIN pgtopic.lanes l USING (webhook_id, lane) WHERE l.halted) AS halted_lanes,
       ARRAY(SELECT f.id FROM found f ORDER BY f.id LIMIT 10) AS sample_ids
