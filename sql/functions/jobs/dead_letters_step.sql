-- ----------------------------------------------------------------------
-- dead_letters_step: a step of a job that replays or discards dead letters.
--
-- The job walks through the dead letters by rising message id, once. Dead
-- letters that came after the job are left alone. Those whose partition is taken
-- are left, with all that follow in it, for the next step.
--
-- Parameters, returns: as step_job.
-- Locks:               as replay_dead_letters or discard_dead_letters.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.dead_letters_step(
    job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint,
    OUT waits_for text, OUT finished boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
    looks    CONSTANT integer := 10000;
    ids      bigint[] := pgtopic.left_messages(job.progress);
    room     integer := greatest(at_most - cardinality(ids), 0);
    after    bigint := (job.progress ->> 'after')::bigint;
    after_id bigint := (job.progress ->> 'after_id')::bigint;
    until    bigint := (job.progress ->> 'until')::bigint;
    picked   record;
    is_left  bigint[];
BEGIN
    -- What is seen is read in order, and no further than needed.
    WITH wanted AS MATERIALIZED (
        SELECT * FROM pgtopic.dead_letter_filter(job.filter)
    ), seen AS NOT MATERIALIZED (
        SELECT l.id, l.message_id, l
          FROM pgtopic.dead_letters l
         WHERE (l.message_id, l.id) > (after, after_id)
         ORDER BY l.message_id, l.id
         LIMIT looks
    ), asked AS MATERIALIZED (
        SELECT s.id, s.message_id
          FROM seen s
         CROSS JOIN wanted w
         WHERE s.id <= until
           AND (job.topic_id IS NULL OR (s.l).topic_id = job.topic_id)
           AND (job.webhook_id IS NULL OR (s.l).webhook_id = job.webhook_id)
           AND pgtopic.dead_letter_fits(s.l, w.partition_key, w.type, w.reason, w.error_class, w.status_code, w.since, w.before)
         ORDER BY s.message_id, s.id
         LIMIT room
    )
    SELECT array_agg(a.id ORDER BY a.message_id, a.id) AS ids,
           CASE WHEN room = 0 THEN ARRAY[after, after_id]
                WHEN count(*) = room THEN max(ARRAY[a.message_id, a.id])
                ELSE (SELECT coalesce(max(ARRAY[s.message_id, s.id]), ARRAY[after, after_id]) FROM seen s) END AS last,
           room > 0 AND count(*) < room AND (SELECT count(*) FROM seen) < looks AS is_end
      INTO picked
      FROM asked a;
    IF job.kind = 'dead_letter_discard' THEN
        SELECT count(*) FILTER (WHERE r.outcome = 'discarded'), 0, count(*) FILTER (WHERE r.outcome = 'absent'),
               coalesce(array_agg(r.dead_letter_id) FILTER (WHERE r.outcome = 'row_locked'), '{}')
          INTO done, already_owed, gone, is_left
          FROM pgtopic.discard_dead_letters(ids || picked.ids) r;
    ELSE
        SELECT count(*) FILTER (WHERE r.outcome = 'owed'),
               count(*) FILTER (WHERE r.outcome = 'already_owed'),
               count(*) FILTER (WHERE r.outcome IN ('message_gone', 'webhook_gone', 'absent')),
               coalesce(array_agg(r.dead_letter_id ORDER BY r.message_id, r.dead_letter_id)
                            FILTER (WHERE r.outcome IN ('stripe_taken', 'row_locked')), '{}')
          INTO done, already_owed, gone, is_left
          FROM pgtopic.replay_dead_letters(ids || picked.ids, false) r;
    END IF;
    filtered := 0;
    progress := json_build_object('after', picked.last[1], 'after_id', picked.last[2], 'until', until, 'left', is_left);
    waits_for := (SELECT pgtopic.partition_holder(l.message_id, cardinality(is_left)) FROM pgtopic.dead_letters l WHERE l.id = is_left[1]);
    finished := picked.is_end AND is_left = '{}';
END
$$;
