-- ----------------------------------------------------------------------
-- note_success: say that requests to webhooks are accepted, although another
-- worker suspects them. Nothing is written for a webhook that nobody suspects.
--
-- Parameters:
--   worker       who says it
--   webhook_ids  the webhooks
--   suspected    for how many seconds a suspicion lasts
--
-- Returns: how many rows were written.
-- Locks:   the rows, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.note_success(worker uuid, webhook_ids bigint[], suspected double precision) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    noted    bigint;
BEGIN
    UPDATE pgtopic.breakers b
       SET success_at = clock_timestamp(), success_by = worker
     WHERE b.ctid = ANY (ARRAY(
        SELECT x.ctid
          FROM pgtopic.breakers x
         WHERE x.webhook_id = ANY (webhook_ids) AND x.state = 'closed'
           AND x.suspected_at > clock_timestamp() - make_interval(secs => suspected)
           FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS noted = ROW_COUNT;
    RETURN noted;
END
$$;
