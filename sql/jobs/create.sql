-- ----------------------------------------------------------------------
-- jobs/create: make a job. The leader begins it soon.
--
-- A job deals with what there is now: messages and dead letters that come later
-- have higher ids.
--
-- Parameters: $1 kind, $2 topic id or null, $3 webhook id or null, $4 the filter
--             as JSON, $5 the first and $6 the last message id, $7 from and $8
--             before which time; each or null, $9 how many there are and $10
--             whether there may be more, $11 the rate limit or null, $12 who
--             asks for it.
-- Returns:    j: the job.
-- Locks:      the new row.
-- ----------------------------------------------------------------------
WITH j AS (
    INSERT INTO pgtopic.jobs (kind, topic_id, webhook_id, filter, progress, total, total_capped, rate_limit_per_second, created_by)
    SELECT $1::text, $2::bigint, $3::bigint, $4::text::json,
           CASE
               WHEN $1 IN ('replay', 'cancel') THEN
                   json_build_object('after', CASE $1 WHEN 'replay' THEN coalesce($5::bigint, 1) - 1 ELSE 0 END,
                                     'from', coalesce($5, 1) - 1,
                                     'lane', (-9223372036854775808)::bigint,
                                     'until', least($6::bigint, (SELECT coalesce(max(m.id), 0) FROM pgtopic.messages m)),
                                     'since', $7::timestamptz, 'before', $8::timestamptz, 'left', '[]'::json)
               WHEN $1 IN ('dead_letter_replay', 'dead_letter_discard') THEN
                   json_build_object('after', 0, 'after_id', 0, 'left', '[]'::json,
                                     'until', (SELECT coalesce(max(l.id), 0) FROM pgtopic.dead_letters l))
               ELSE '{}'::json
           END,
           $9::bigint, $10::boolean, $11::float8, $12::text
    RETURNING *
)
