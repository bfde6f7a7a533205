-- ----------------------------------------------------------------------
-- end_probe: give the turn to probe a webhook back. Its breaker stays open.
--
-- Parameters:
--   worker, token  whose turn it is; token is that of take_probes
--   webhook_id     the webhook
--   epoch          the epoch of the probe
--   failed         whether a request was made; false: it was not
--   next_in        after how many seconds the next probe is due
--   disable        why the webhook is to be disabled; null: it is not
--
-- Returns: ended     the turn was given back
--          disabled  and the webhook was disabled
--          lost      it was not this worker's turn any more: nothing was written
-- Locks:   the breaker's row, then the webhook's. No flush, unless it disables.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.end_probe(
    worker     uuid,
    token      bigint,
    webhook_id bigint,
    epoch      bigint,
    failed     boolean,
    next_in    double precision,
    disable    text
) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    flush text := set_config('synchronous_commit', CASE WHEN disable IS NULL THEN 'off' ELSE current_setting('synchronous_commit') END,
                             true);
BEGIN
    UPDATE pgtopic.breakers b
       SET probe_by = NULL, probe_token = NULL, probe_until = NULL, probes = b.probes + failed::integer,
           next_probe_at = clock_timestamp() + make_interval(secs => next_in)
     WHERE b.webhook_id = end_probe.webhook_id
       AND b.state = 'open' AND b.epoch = end_probe.epoch
       AND b.probe_by = worker AND b.probe_token = token;
    IF NOT FOUND THEN
        RETURN 'lost';
    END IF;
    IF disable IS NULL THEN
        RETURN 'ended';
    END IF;
    PERFORM set_config('pgtopic_session.changed_by', 'worker ' || worker, true);
    UPDATE pgtopic.webhooks w SET disabled_reason = disable WHERE w.id = webhook_id AND w.disabled_reason IS NULL;
    RETURN 'disabled';
END
$$;
