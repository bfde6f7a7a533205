-- ----------------------------------------------------------------------
-- job_means_dead_letter: whether a job about dead letters is about this one.
--
-- Parameters: the dead letter; topic_id and webhook_id, null for any; filter,
--             as a request writes it. See dead_letter_fits.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.job_means_dead_letter(letter pgtopic.dead_letters, topic_id bigint, webhook_id bigint, filter json)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
SELECT (job_means_dead_letter.topic_id IS NULL OR letter.topic_id = job_means_dead_letter.topic_id)
   AND (job_means_dead_letter.webhook_id IS NULL OR letter.webhook_id = job_means_dead_letter.webhook_id)
   AND pgtopic.dead_letter_fits(letter, filter ->> 'partition_key', filter ->> 'type', filter ->> 'reason',
                                filter ->> 'error_class', (filter ->> 'status_code')::bigint, (filter ->> 'since')::timestamptz,
                                (filter ->> 'until')::timestamptz)
$$;
