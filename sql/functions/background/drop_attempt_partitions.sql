-- ----------------------------------------------------------------------
-- drop_attempt_partitions: drop the oldest partitions of attempts.
--
-- Runs as the owner of the schema, so a worker needs no right to drop tables.
--
-- Parameters: days  how many days before today are kept (UTC)
-- Returns:    how many partitions were dropped
-- Raises:     55P03 a lock was not granted within 500 ms.
-- Locks:      attempts and the partitions ACCESS EXCLUSIVE, to the end of the
--             transaction. It waits at most 500 ms for each lock, since workers
--             write the attempt log meanwhile.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.drop_attempt_partitions(days integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp SET lock_timeout = '500ms'
AS $$
DECLARE
    dropped integer := 0;
    old     regclass;
BEGIN
    FOR old IN
        SELECT c.oid::regclass
          FROM pg_inherits i
          JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'pgtopic.attempts'::regclass
           AND c.relname < 'attempts_' || to_char((now() AT TIME ZONE 'UTC') - make_interval(days => drop_attempt_partitions.days), 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %s', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
