-- ----------------------------------------------------------------------
-- jobs/count_dead_letters: what a job about dead letters would deal with.
--
-- Parameters: $1 topic id and $2 webhook id, each or null, $3 the filter as
--             JSON, $4 count up to this.
-- Returns:    as jobs/count_replayable; sample_ids are of dead letters.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH found AS MATERIALIZED (
    SELECT x.id, x.webhook_id, x.lane
      FROM pgtopic.dead_letters x
     WHERE pgtopic.job_means_dead_letter(x, $1::bigint, $2::bigint, $3::text::json)
     LIMIT $4::bigint
), of_lanes AS MATERIALIZED (
    SELECT f.webhook_id, f.lane FROM found f GROUP BY f.webhook_id, f.lane
)
SELECT (SELECT count(*) FROM found) AS matches, (SELECT count(*) FROM of_lanes) AS lanes,
       (SELECT count(*) FROM of_lanes o JOIN pgtopic.lanes l USING (webhook_id, lane) WHERE l.halted) AS halted_lanes,
       ARRAY(SELECT f.id FROM found f ORDER BY f.id LIMIT 10) AS sample_ids
