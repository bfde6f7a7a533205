-- ----------------------------------------------------------------------
-- sample_backlogs: note what webhooks are owed: one step of several.
--
-- It looks at webhooks that have lanes, dead letters or a sample; the others owe
-- nothing. A row is written only if it changes.
--
-- Parameters:
--   after_webhook   where the last step ended; 0 begins
--   lanes_at_most, owed_at_most  as for webhook_backlog
--   takes           after how long the step ends
--
-- Returns: one row: how many webhooks it looked at, and where it ended; null if
--          that was the end. At the end it notes when everything was sampled.
-- Locks:   rows of webhook_samples and sampled, which only the leader writes.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.sample_backlogs(after_webhook bigint, lanes_at_most bigint, owed_at_most bigint, takes interval)
RETURNS TABLE (webhooks bigint, ended_at bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    no_flush text        := set_config('synchronous_commit', 'off', true);
    until    timestamptz := clock_timestamp() + takes;
BEGIN
    webhooks := 0;
    ended_at := after_webhook;
    LOOP
        ended_at := least(
            (SELECT l.webhook_id FROM pgtopic.lanes l WHERE l.webhook_id > ended_at ORDER BY l.webhook_id LIMIT 1),
            (SELECT x.webhook_id FROM pgtopic.dead_letters x WHERE x.webhook_id > ended_at ORDER BY x.webhook_id LIMIT 1),
            (SELECT s.webhook_id FROM pgtopic.webhook_samples s WHERE s.webhook_id > ended_at ORDER BY s.webhook_id LIMIT 1));
        EXIT WHEN ended_at IS NULL;
        webhooks := webhooks + 1;
        INSERT INTO pgtopic.webhook_samples AS s (webhook_id, owed, owed_capped, oldest_owed_at, ready, claimed, waiting, halted,
                                                  dead_letters, dead_letters_capped)
        SELECT ended_at, b.*
          FROM pgtopic.webhook_backlog(ended_at, lanes_at_most, owed_at_most) b
         WHERE EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = ended_at)
            ON CONFLICT (webhook_id) DO UPDATE
           SET (owed, owed_capped, oldest_owed_at, ready, claimed, waiting, halted, dead_letters, dead_letters_capped)
             = (excluded.owed, excluded.owed_capped, excluded.oldest_owed_at, excluded.ready, excluded.claimed, excluded.waiting,
                excluded.halted, excluded.dead_letters, excluded.dead_letters_capped)
         WHERE (s.owed, s.owed_capped, s.oldest_owed_at, s.ready, s.claimed, s.waiting, s.halted, s.dead_letters,
                s.dead_letters_capped)
               IS DISTINCT FROM
               (excluded.owed, excluded.owed_capped, excluded.oldest_owed_at, excluded.ready, excluded.claimed, excluded.waiting,
                excluded.halted, excluded.dead_letters, excluded.dead_letters_capped);
        EXIT WHEN clock_timestamp() >= until;
    END LOOP;
    IF ended_at IS NULL THEN
        DELETE FROM pgtopic.webhook_samples s WHERE NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = s.webhook_id);
        DELETE FROM pgtopic.breakers b WHERE NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = b.webhook_id);
        UPDATE pgtopic.sampled SET sampled_at = clock_timestamp();
    END IF;
    RETURN NEXT;
END
$$;
