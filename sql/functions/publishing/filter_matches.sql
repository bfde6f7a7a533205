-- ----------------------------------------------------------------------
-- filter_matches: whether a webhook's filter lets a payload through.
--
-- json may hold what jsonb refuses (\u0000, 1e200000): a filter that cannot be
-- evaluated lets the message through and is counted; it never fails the
-- publisher.
--
-- Returns: true where the path's predicate is true, or cannot be evaluated;
--          false where it is false or unknown.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.filter_matches(filter jsonpath, payload json) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    RETURN coalesce(payload::jsonb @@ filter, false);
EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported THEN
    PERFORM nextval('pgtopic.filter_errors');
    RETURN true;
END
$$;
