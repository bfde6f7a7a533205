-- ----------------------------------------------------------------------
-- drop_attempt_partitions: drop the oldest partitions of attempts.
--
-- Runs as the owner of the schema, so a worker needs no right to drop tables.
--
-- Parameters: days  how many days before today are kept (UTC)
-- Returns:    how many partitions were dropped
-- Raises:     55P03 a lock was not granted in time.
-- Locks:      the partitions, then attempts, ACCESS EXCLUSIVE, to the end of the
--             transaction. It waits at most 500 ms for attempts, since workers
--             write the attempt log meanwhile. For a partition it waits 3 s:
--             an autovacuum of it ends for us after deadlock_timeout (1 s).
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
        PERFORM set_config('lock_timeout', '3s', true);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', old);
        PERFORM set_config('lock_timeout', '500ms', true);
        EXECUTE format('DROP TABLE %s', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
