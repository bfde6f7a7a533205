-- ----------------------------------------------------------------------
-- delete_old_dead_letters: delete dead letters that are older than some days,
-- out of the oldest ones.
--
-- Ids rise roughly with created_at, so nothing but the oldest is looked at.
--
-- Parameters: days; portion, how many to look at. Returns: how many were
-- deleted. Locks: the rows, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.delete_old_dead_letters(days integer, portion integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    deleted  bigint;
BEGIN
    -- Rows are deleted by their places: a join might read the whole table.
    DELETE FROM pgtopic.dead_letters
     WHERE ctid = ANY (ARRAY(
        SELECT l.ctid
          FROM (SELECT o.id, o.created_at FROM pgtopic.dead_letters o ORDER BY o.id LIMIT portion) o
         CROSS JOIN LATERAL (SELECT x.ctid FROM pgtopic.dead_letters x WHERE x.id = o.id LIMIT 1 FOR UPDATE SKIP LOCKED) l
         WHERE o.created_at < now() - delete_old_dead_letters.days * interval '1 day'));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
