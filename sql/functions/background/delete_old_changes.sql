-- ----------------------------------------------------------------------
-- delete_old_changes: delete rows of the audit log that are older than some
-- days, out of the oldest ones.
--
-- Ids rise with created_at, so nothing but the oldest is looked at.
--
-- Parameters: days; portion, how many to look at. Returns: how many were
-- deleted. Locks: the rows. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.delete_old_changes(days integer, portion integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    deleted  bigint;
BEGIN
    DELETE FROM pgtopic.changes
     WHERE ctid = ANY (ARRAY(
        SELECT c.ctid
          FROM (SELECT o.ctid, o.created_at FROM pgtopic.changes o ORDER BY o.id LIMIT portion) c
         WHERE c.created_at < now() - delete_old_changes.days * interval '1 day'));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
