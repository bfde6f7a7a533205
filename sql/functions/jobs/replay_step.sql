-- ----------------------------------------------------------------------
-- replay_step: a step of a job that replays a range of messages to a webhook.
--
-- The job walks through the messages by rising id, once, up to the newest one
-- of when it was made. Types and filter of the webhook apply as they are now.
-- Messages whose partition is taken are left, with all that follow in it, for
-- the next step. So each lane gets the job's messages in rising order.
--
-- backfill_step uses this too: then it is no replay.
--
-- Parameters, returns: as step_job.
-- Locks:               as owe_deliveries.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.replay_step(
    job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint,
    OUT waits_for text, OUT finished boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    ids     bigint[] := pgtopic.left_messages(job.progress);
    is_left bigint[];
    picked  record;
BEGIN
    SELECT * INTO picked FROM pgtopic.pick_messages(job, at_most - cardinality(ids));
    SELECT count(*) FILTER (WHERE o.outcome = 'owed'),
           count(*) FILTER (WHERE o.outcome = 'already_owed'),
           count(*) FILTER (WHERE o.outcome = 'message_gone'),
           coalesce(array_agg(o.message_id ORDER BY o.message_id) FILTER (WHERE o.outcome IN ('stripe_taken', 'row_locked')), '{}')
      INTO done, already_owed, gone, is_left
      FROM pgtopic.owe_messages(job.webhook_id, ids || picked.ids, CASE job.kind WHEN 'replay' THEN clock_timestamp() END, false) o;
    filtered := picked.filtered;
    progress := json_build_object('after', picked.last_id, 'until', job.progress -> 'until', 'since', job.progress -> 'since',
                                  'before', job.progress -> 'before', 'left', is_left);
    waits_for := CASE WHEN cardinality(is_left) > 0 THEN pgtopic.partition_holder(is_left[1], cardinality(is_left)) END;
    finished := picked.last_id >= (job.progress ->> 'until')::bigint AND is_left = '{}';
END
$$;
