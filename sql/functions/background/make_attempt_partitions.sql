-- ----------------------------------------------------------------------
-- make_attempt_partitions: make the partitions of attempts that are missing,
-- from yesterday on.
--
-- Each table is made first and attached then: so workers go on writing the
-- attempt log. Days are UTC. Runs as the owner of the schema, so a worker needs
-- no right to make tables.
--
-- Parameters: days  up to how many days ahead of today
-- Returns:    how many were made
-- Raises:     55P03 a lock was not granted within 500 ms.
-- Locks:      an advisory lock of its own; attempts SHARE UPDATE EXCLUSIVE. It
--             waits at most 500 ms for each lock.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.make_attempt_partitions(days integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp SET lock_timeout = '500ms'
AS $$
DECLARE
    made      integer := 0;
    first_day timestamp;
    name      text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pgtopic attempts ' || pgtopic.stripe_class(), 0));
    FOR first_day IN
        SELECT generate_series(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day',
                               date_trunc('day', now() AT TIME ZONE 'UTC') + make_interval(days => make_attempt_partitions.days),
                               interval '1 day')
    LOOP
        name := 'attempts_' || to_char(first_day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(format('%I.%I', 'pgtopic', name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.attempts INCLUDING ALL)', 'pgtopic', name);
        EXECUTE format('ALTER TABLE %1$I.attempts ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%3$L) TO (%4$L)', 'pgtopic', name,
            first_day AT TIME ZONE 'UTC', (first_day + interval '1 day') AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
