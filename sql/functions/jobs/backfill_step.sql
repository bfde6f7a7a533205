-- ----------------------------------------------------------------------
-- backfill_step: a step of a job that makes earlier messages owed to a webhook
-- that is starting.
--
-- First the job waits until all transactions have ended that were open when it
-- began: they may have published without seeing the webhook. (A transaction that
-- is prepared meanwhile counts as well.) Then it goes on as replay_step does, up
-- to the newest message of then. Later messages were fanned out to the webhook.
-- At the end the webhook becomes active.
--
-- Parameters, returns: as step_job.
-- Locks:               as owe_deliveries.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.backfill_step(
    job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint,
    OUT waits_for text, OUT finished boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF job.progress ->> 'until' IS NULL THEN
        progress := pgtopic.open_transactions(job.progress);
        IF json_array_length(progress -> 'open') > 0 OR json_array_length((progress ->> 'prepared')::json) > 0 THEN
            SELECT 0, 0, 0, 0, pgtopic.describe_transactions(progress), false
              INTO done, already_owed, gone, filtered, waits_for, finished;
            RETURN;
        END IF;
        job.progress := json_build_object('after', progress -> 'after', 'since', progress -> 'since', 'left', '[]'::json,
                                          'until', (SELECT coalesce(max(m.id), 0) FROM pgtopic.messages m));
    END IF;
    SELECT s.* INTO progress, done, already_owed, gone, filtered, waits_for, finished FROM pgtopic.replay_step(job, at_most) s;
    IF finished THEN
        PERFORM pgtopic.start_webhook(job.webhook_id, format('backfill %s has ended', job.id), job.created_by);
    END IF;
END
$$;
