-- ----------------------------------------------------------------------
-- open_breaker: open a webhook's breaker, unless another worker objects.
--
-- If other workers live, the first call only asks them: it writes suspected_at.
-- Then each worker whose requests are accepted says so (note_success). The
-- worker calls again when they have had the time to answer.
--
-- Parameters:
--   worker           the worker whose requests fail
--   webhook_id       the webhook
--   epoch            the epoch in which they have failed
--   reason           why they fail, in words
--   objection        how many seconds the others have for an answer
--   success_counts   for how many seconds the answer of another worker counts
--   first_probe      after how many seconds the first probe is due
--
-- Returns: one row: the outcome, and the epoch after it.
--   opened    this call has opened it
--   asked     the others were asked, by this call or shortly before
--   refused   another worker's requests are accepted
--   outdated  it is open already, or the epoch is another one
--   off       the webhook's policy is that it never opens, or the webhook is
--             gone
-- Raises:  25000 not at READ COMMITTED.
-- Locks:   the breaker's row. Notifies. A row of changes.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.open_breaker(
    worker         uuid,
    webhook_id     bigint,
    epoch          bigint,
    reason         text,
    objection      double precision,
    success_counts double precision,
    first_probe    double precision
) RETURNS TABLE (outcome text, epoch_now bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    topic    bigint := (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = webhook_id AND w.breaker = 'auto');
    alone    boolean := NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id <> worker AND NOT o.gone AND NOT o.stopping);
    found_as pgtopic.breakers;
BEGIN
    PERFORM pgtopic.require_read_committed();
    epoch_now := epoch;
    IF topic IS NULL THEN
        outcome := 'off';
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO pgtopic.breakers (webhook_id) VALUES (webhook_id) ON CONFLICT ON CONSTRAINT breakers_pkey DO NOTHING;

    UPDATE pgtopic.breakers b
       SET state = 'open', epoch = b.epoch + 1, opened_at = clock_timestamp(),
           next_probe_at = clock_timestamp() + make_interval(secs => first_probe), probes = 0, probe_by = NULL, probe_token = NULL,
           probe_until = NULL, suspected_at = NULL, success_at = NULL, success_by = NULL, wake_after = NULL,
           changed_at = clock_timestamp()
     WHERE b.webhook_id = open_breaker.webhook_id
       AND b.state = 'closed' AND b.epoch = open_breaker.epoch
       AND (alone OR b.suspected_at <= clock_timestamp() - make_interval(secs => objection))
       AND NOT coalesce(b.success_by <> worker AND b.success_at > clock_timestamp() - make_interval(secs => success_counts), false);
    IF FOUND THEN
        INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
        VALUES ('webhook.open', topic, webhook_id, reason, 'worker ' || worker);
        PERFORM pgtopic.announce_breaker();
        outcome := 'opened';
        epoch_now := epoch + 1;
        RETURN NEXT;
        RETURN;
    END IF;

    -- What an earlier suspicion was answered with does not count any more.
    UPDATE pgtopic.breakers b
       SET suspected_at = clock_timestamp(), success_at = NULL, success_by = NULL, changed_at = clock_timestamp()
     WHERE b.webhook_id = open_breaker.webhook_id
       AND b.state = 'closed' AND b.epoch = open_breaker.epoch
       AND (b.suspected_at IS NULL OR b.suspected_at <= clock_timestamp() - make_interval(secs => objection + success_counts)
            OR b.suspected_at > clock_timestamp());
    IF FOUND THEN
        PERFORM pgtopic.announce_breaker();
        outcome := 'asked';
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT * INTO found_as FROM pgtopic.breakers b WHERE b.webhook_id = open_breaker.webhook_id;
    epoch_now := found_as.epoch;
    outcome := CASE WHEN found_as.state = 'open' OR found_as.epoch <> epoch THEN 'outdated'
                    WHEN found_as.success_by <> worker THEN 'refused'
                    ELSE 'asked' END;
    RETURN NEXT;
END
$$;
