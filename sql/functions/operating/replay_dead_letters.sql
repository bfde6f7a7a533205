-- ----------------------------------------------------------------------
-- replay_dead_letters: deliver some dead letters once more.
--
-- They go by rising message id. A lane whose stripe is taken is left, with all
-- that follows in it, so that its messages keep their order. (All lanes of that
-- stripe are left.) A dead letter is deleted in the transaction that makes its
-- message owed. Filter and types of the webhook do not count.
--
-- Parameters:
--   dead_letter_ids  at most 1,000 of them
--   waits            as lock_lane: true for one dead letter only
--
-- Returns: a row for each id, with its outcome: 'replayed'; 'already_owed' and
--          'message_gone': the dead letter stays; 'webhook_gone'; 'absent':
--          there is no such dead letter (any more); 'stripe_taken' and
--          'row_locked': as lock_lane, or somebody has locked the dead letter
--          or the message: try again later.
-- Raises:  25000 not at READ COMMITTED; as lock_lane.
-- Locks:   the dead letters; as owe_message. Waits end after 1 s.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.replay_dead_letters(dead_letter_ids bigint[], waits boolean)
RETURNS TABLE (dead_letter_id bigint, webhook_id bigint, message_id bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '1s'
AS $$
#variable_conflict use_column
DECLARE
    letter       record;
    left_stripes integer[] := '{}';
BEGIN
    PERFORM pgtopic.require_read_committed();
    FOR letter IN
        SELECT asked.id, x.webhook_id, x.lane, x.message_id, x.partition_key, w.topic_id,
               t.stripes | (x.lane & 255)::integer AS stripe
          FROM unnest(dead_letter_ids) AS asked (id)
          LEFT JOIN LATERAL (SELECT * FROM pgtopic.dead_letters x WHERE x.id = asked.id LIMIT 1) x ON true
          LEFT JOIN LATERAL (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = x.webhook_id LIMIT 1) w ON true
          LEFT JOIN LATERAL (SELECT t.stripes FROM pgtopic.topics t WHERE t.id = w.topic_id LIMIT 1) t ON true
         ORDER BY x.message_id, x.webhook_id
    LOOP
        dead_letter_id := letter.id;
        webhook_id := letter.webhook_id;
        message_id := letter.message_id;
        outcome := CASE WHEN letter.webhook_id IS NULL THEN 'absent'
                        WHEN letter.topic_id IS NULL THEN 'webhook_gone'
                        WHEN letter.stripe = ANY (left_stripes) THEN 'stripe_taken' END;
        IF outcome IS NULL THEN
            PERFORM FROM pgtopic.dead_letters x WHERE x.id = letter.id FOR UPDATE SKIP LOCKED;
            IF FOUND THEN
                outcome := pgtopic.owe_message(letter.webhook_id, letter.message_id, letter.lane, letter.partition_key,
                                               letter.stripe, clock_timestamp(), waits);
            ELSE
                outcome := CASE WHEN EXISTS (SELECT FROM pgtopic.dead_letters x WHERE x.id = letter.id)
                                THEN 'row_locked' ELSE 'absent' END;
            END IF;
            IF outcome = 'owed' THEN
                DELETE FROM pgtopic.dead_letters x WHERE x.id = letter.id;
                outcome := 'replayed';
            ELSIF outcome IN ('stripe_taken', 'row_locked') THEN
                left_stripes := left_stripes || letter.stripe;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
