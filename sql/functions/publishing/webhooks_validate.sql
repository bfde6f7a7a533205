-- ----------------------------------------------------------------------
-- webhooks_validate: BEFORE INSERT OR UPDATE OF filter, filter_limit on
-- webhooks, for each row. Refuses what is no filter or costs publishers too
-- much, and writes filter_limit.
--
-- A filter that does not change is not checked again, so that its webhook can
-- still be changed and paused.
--
-- Raises: as check_filter.
-- Locks:  none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_validate() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF NEW.filter IS NULL THEN
        NEW.filter_limit := NULL;
    ELSIF TG_OP = 'INSERT' OR NEW.filter::text IS DISTINCT FROM OLD.filter::text THEN
        NEW.filter_limit := pgtopic.check_filter(NEW.filter);
    ELSE
        NEW.filter_limit := OLD.filter_limit;
    END IF;
    RETURN NEW;
END
$$;
