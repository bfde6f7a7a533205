-- ----------------------------------------------------------------------
-- job_means_dead_letter: whether a job about dead letters is about this one.
--
-- Parameters: the dead letter; topic_id and webhook_id, null for any; filter,
--             as a request writes it. Canceled and superseded ones fit only if
--             the filter names that reason.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.job_means_dead_letter(letter pgtopic.dead_letters, topic_id bigint, webhook_id bigint, filter json)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT letter.topic_id = coalesce(job_means_dead_letter.topic_id, letter.topic_id)
   AND letter.webhook_id = coalesce(job_means_dead_letter.webhook_id, letter.webhook_id)
   AND letter.partition_key = coalesce(filter ->> 'partition_key', letter.partition_key)
   AND (filter ->> 'type' IS NULL OR letter.type = filter ->> 'type')
   AND CASE WHEN filter ->> 'reason' IS NULL THEN letter.reason NOT IN ('canceled', 'superseded')
            ELSE letter.reason = filter ->> 'reason' END
   AND (filter ->> 'error_class' IS NULL OR letter.error_class = filter ->> 'error_class')
   AND (filter ->> 'status_code' IS NULL OR letter.status_code = (filter ->> 'status_code')::integer)
   AND letter.created_at >= coalesce((filter ->> 'since')::timestamptz, '-infinity')
   AND letter.created_at < coalesce((filter ->> 'until')::timestamptz, 'infinity')
$$;
