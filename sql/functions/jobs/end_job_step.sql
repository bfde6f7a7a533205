-- ----------------------------------------------------------------------
-- end_job_step: write the progress of a job with the step that made it.
--
-- Parameters: job_id     the job, which begin_job_step has locked
--             progress   where the next step begins
--             done, already_owed, gone, filtered  what this step adds
--             waits_for  what the next step waits for; null if nothing
--             finished   whether everything is done
-- Returns:    the job's state.
-- Locks:      the job's row.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.end_job_step(job_id bigint, progress json, done bigint, already_owed bigint, gone bigint,
                                                filtered bigint, waits_for text, finished boolean) RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
UPDATE pgtopic.jobs j
   SET state = CASE WHEN finished THEN 'succeeded' ELSE 'running' END,
       progress = end_job_step.progress,
       done = j.done + end_job_step.done,
       already_owed = j.already_owed + end_job_step.already_owed,
       gone = j.gone + end_job_step.gone,
       filtered = j.filtered + end_job_step.filtered,
       waits_for = end_job_step.waits_for,
       updated_at = clock_timestamp(),
       finished_at = CASE WHEN finished THEN clock_timestamp() END
 WHERE j.id = end_job_step.job_id
RETURNING j.state
$$;
