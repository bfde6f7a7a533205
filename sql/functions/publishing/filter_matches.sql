-- ----------------------------------------------------------------------
-- filter_matches: whether a webhook's filter lets a payload through.
--
-- A filter must never fail the publisher. json may hold what jsonb refuses
-- (\u0000, 1e200000). If a filter cannot be evaluated, it lets the message
-- through, and filter_errors counts it.
--
-- Returns: true if the path's predicate is true or cannot be evaluated; false
--          if it is false or unknown.
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
