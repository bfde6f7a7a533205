-- ----------------------------------------------------------------------
-- drop_attempt_partitions: forget the oldest days of attempts.
--
-- Runs as the owner of the schema: a worker needs no right to drop tables.
--
-- Parameters: days  how many days before today are kept
-- Returns:    how many partitions were dropped
-- Locks:      attempts ACCESS EXCLUSIVE for a moment, given up after 500 ms:
--             workers write the log meanwhile
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
