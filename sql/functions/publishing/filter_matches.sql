-- ----------------------------------------------------------------------
-- filter_matches: whether a webhook's filter lets a payload through.
--
-- A filter must never fail the publisher. json may hold what jsonb refuses
-- (\u0000, 1e200000). If a filter cannot be evaluated, or the payload is larger
-- than the filter's limit, it lets the message through, and filter_errors
-- counts it.
--
-- Parameters:
--   filter, payload
--   accepted_bytes  the filter's limit, as filter_limit returns it; null if
--                   nobody has computed it
--
-- Returns: true if the path's predicate is true or is not evaluated; false if
--          it is false or unknown.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.filter_matches(filter jsonpath, payload json, accepted_bytes integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF octet_length(payload::text) > coalesce(accepted_bytes, pgtopic.filter_limit(filter)) THEN
        PERFORM nextval('pgtopic.filter_errors');
        RETURN true;
    END IF;
    RETURN coalesce(payload::jsonb @@ filter, false);
EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported OR undefined_object THEN
    PERFORM nextval('pgtopic.filter_errors');
    RETURN true;
END
$$;
