-- ----------------------------------------------------------------------
-- open_transactions: which transactions a backfill still waits for.
--
-- The first call notes all open transactions of this database. Later calls keep
-- those that are still open. When none of them is left, the prepared
-- transactions of then are noted: one of the others may have become prepared.
--
-- Parameters: progress  of the job
-- Returns:    the same with the transactions: open (virtual transaction ids),
--             then prepared (transaction ids).
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.open_transactions(progress json) RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    open     text[];
    prepared text[];
BEGIN
    SELECT coalesce(array_agg(l.virtualtransaction), '{}') INTO open
      FROM pg_locks l
      JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
       AND a.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       AND l.pid <> pg_backend_pid()
       AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'walsender')
       AND (progress ->> 'open' IS NULL
            OR l.virtualtransaction IN (SELECT json_array_elements_text((progress ->> 'open')::json)));
    IF open = '{}' THEN
        SELECT coalesce(array_agg(p.transaction::text), '{}') INTO prepared
          FROM pg_prepared_xacts p
         WHERE p.database = current_database()
           AND (progress ->> 'prepared' IS NULL
                OR p.transaction::text IN (SELECT json_array_elements_text((progress ->> 'prepared')::json)));
    END IF;
    RETURN json_build_object('after', progress -> 'after', 'since', progress ->> 'since', 'open', open, 'prepared', prepared);
END
$$;
