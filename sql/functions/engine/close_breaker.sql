-- ----------------------------------------------------------------------
-- close_breaker: close a webhook's breaker. From now on its lanes are claimed
-- again, and those that wait for the end of a back-off are made due
-- (wake_lanes).
--
-- Parameters:
--   webhook_id     the webhook
--   worker, token  the worker whose probe was answered; token is that of
--                  take_probes. Null: an operator closes it, whoever probes
--   epoch          the epoch of the probe; null with an operator
--   reason         why, in words
--   changed_by     who closes it
--
-- Returns: the epoch that begins; null if nothing was written: the breaker is
--          closed already, or it was not this worker's turn any more.
-- Locks:   the breaker's row. Notifies. A row of changes.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.close_breaker(
    webhook_id bigint,
    worker     uuid,
    token      bigint,
    epoch      bigint,
    reason     text,
    changed_by text
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    was_open interval := (SELECT clock_timestamp() - b.opened_at FROM pgtopic.breakers b WHERE b.webhook_id = close_breaker.webhook_id);
    begins   bigint;
BEGIN
    UPDATE pgtopic.breakers b
       SET state = 'closed', epoch = b.epoch + 1, opened_at = NULL, next_probe_at = NULL, probes = 0, probe_by = NULL,
           probe_token = NULL, probe_until = NULL, wake_after = -9223372036854775808, changed_at = clock_timestamp()
     WHERE b.webhook_id = close_breaker.webhook_id
       AND b.state = 'open'
       AND (worker IS NULL OR b.epoch = close_breaker.epoch AND b.probe_by = worker AND b.probe_token = token)
    RETURNING b.epoch INTO begins;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
    SELECT 'webhook.closed', w.topic_id, w.id,
           format('after %s s: %s', round(extract(epoch FROM was_open)::numeric, 1), reason), changed_by
      FROM pgtopic.webhooks w
     WHERE w.id = webhook_id;
    PERFORM pgtopic.announce_breaker();
    RETURN begins;
END
$$;
