-- ----------------------------------------------------------------------
-- jobs/show: the columns that are shown of jobs. This is the end of each
-- statement that shows jobs. It follows a WITH that names them `j`.
--
-- Returns: the jobs of j, newest first. rate_per_second is measured since the
--          job began.
-- ----------------------------------------------------------------------
SELECT j.id, j.kind, j.state, j.webhook_id, t.name AS topic, j.filter::text AS filter, j.total, j.total_capped, j.done,
       j.already_owed, j.gone, j.filtered,
       (j.done + j.already_owed + j.gone + j.filtered)
           / nullif(extract(epoch FROM coalesce(j.finished_at, j.updated_at) - j.started_at)::float8, 0) AS rate_per_second,
       j.rate_limit_per_second, j.error, j.waits_for, j.created_by, j.created_at, j.started_at, j.updated_at, j.finished_at
  FROM j
  LEFT JOIN pgtopic.topics t ON t.id = j.topic_id
 ORDER BY j.id DESC
