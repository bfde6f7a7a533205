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
)
SELECT count(*) AS matches, count(DISTINCT (f.webhook_id, f.lane)) AS lanes,
       (SELECT count(*) FROM pgtopic.lanes l WHERE l.halted AND (l.webhook_id, l.lane) IN (SELECT g.webhook_id, g.lane FROM found g)) AS halted_lanes,
       ARRAY(SELECT g.id FROM found g ORDER BY g.id LIMIT 10) AS sample_ids
  FROM found f
