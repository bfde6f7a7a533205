-- ----------------------------------------------------------------------
-- fail_job: end a job whose steps fail.
--
-- A webhook that was starting becomes active, with what the job has done.
--
-- Parameters: the job; the error. Returns: nothing. Locks: the job's row.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.fail_job(job_id bigint, error text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    job pgtopic.jobs;
BEGIN
    UPDATE pgtopic.jobs j
       SET state = 'failed', error = fail_job.error, waits_for = NULL, updated_at = clock_timestamp(),
           finished_at = clock_timestamp()
     WHERE j.id = job_id AND j.state IN ('queued', 'running', 'canceling')
    RETURNING j.* INTO job;
    IF job.kind = 'backfill' THEN
        PERFORM pgtopic.start_webhook(job.webhook_id, format('backfill %s has failed', job.id), job.created_by);
    END IF;
END
$$;
