-- ----------------------------------------------------------------------
-- begin_job_step: lock a job for a step of it, and end it if it is to end.
--
-- Returns: the job as it is now. Only a job that is running may be stepped. It
--          has ended here if it was to be canceled, or if its webhook or topic
--          was deleted. All columns are null if there is no unfinished job of
--          that id.
-- Locks:   the job's row to the end of the transaction. No flush: a crash takes
--          the step back together with its progress.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.begin_job_step(job_id bigint) RETURNS pgtopic.jobs
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    job      pgtopic.jobs;
    why      text;
BEGIN
    PERFORM pgtopic.require_read_committed();
    SELECT j.* INTO job FROM pgtopic.jobs j
     WHERE j.id = job_id AND j.state IN ('queued', 'running', 'canceling') FOR NO KEY UPDATE;
    IF job.id IS NULL THEN
        RETURN job;
    END IF;
    why := CASE WHEN job.webhook_id IS NOT NULL AND NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = job.webhook_id)
                 THEN 'the webhook was deleted'
                 WHEN job.topic_id IS NOT NULL AND NOT EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = job.topic_id)
                 THEN 'the topic was deleted' END;
    IF job.state = 'canceling' AND job.kind = 'backfill' AND why IS NULL THEN
        PERFORM pgtopic.start_webhook(job.webhook_id, format('backfill %s was canceled', job.id), job.created_by);
    END IF;
    UPDATE pgtopic.jobs j
       SET state = CASE WHEN job.state = 'canceling' THEN 'canceled' WHEN why IS NOT NULL THEN 'failed' ELSE 'running' END,
           error = CASE WHEN job.state <> 'canceling' THEN why END,
           waits_for = CASE WHEN job.state <> 'canceling' AND why IS NULL THEN j.waits_for END,
           started_at = coalesce(j.started_at, clock_timestamp()),
           finished_at = CASE WHEN job.state = 'canceling' OR why IS NOT NULL THEN clock_timestamp() END
     WHERE j.id = job_id
    RETURNING j.* INTO job;
    RETURN job;
END
$$;
