-- ----------------------------------------------------------------------
-- touch_changed_at: BEFORE UPDATE on topics and webhooks, for each row. Writes
-- the time of the change to changed_at.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.touch_changed_at() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END
$$;
