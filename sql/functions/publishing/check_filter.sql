-- ----------------------------------------------------------------------
-- check_filter: refuse a jsonpath that is no filter.
--
-- A path that is no predicate gives NULL for every payload, so as a filter it
-- would never match. Whether a path names variables is read from its text
-- without string literals. Then the filter is tried: on an object in which each
-- of the filter's first four keys leads to the others, to arrays and to values
-- of each kind, so that most of its parts are reached.
--
-- Returns: as filter_limit.
-- Raises:  as filter_limit. 22023 (column filter): it is no predicate, names
--          variables, or cannot be evaluated. The message is the rule that is
--          broken.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.check_filter(filter jsonpath) RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    accepted_bytes integer := pgtopic.filter_limit(filter);
    problem        text;
    payload        jsonb := '[1, 0.5, "2026-01-31T12:00:00Z", "text", null, true, [1, ["text"]]]';
BEGIN
    IF regexp_replace(filter::text, '"(\\.|[^"\\])*"', '""', 'g') ~ '\$""' THEN
        problem := 'must not name variables: nothing gives them a value';
    ELSIF (jsonb_typeof(jsonb_path_query_first('{}', filter, '{}', true)) IN ('boolean', 'null')) IS NOT TRUE THEN
        problem := 'must be a predicate, such as $.event == "order.created"; a path alone never matches';
    ELSE
        BEGIN
            FOR depth IN 1 .. 3 LOOP
                payload := (SELECT coalesce(jsonb_object_agg(k.key, payload), '{}') || jsonb_build_object('', payload)
                              FROM (SELECT DISTINCT t[1]::jsonb #>> '{}' AS key
                                      FROM regexp_matches(filter::text, '\.("(?:\\.|[^"\\])*")', 'g') t
                                     LIMIT 4) k);
                PERFORM payload @@ filter;
            END LOOP;
        EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported OR undefined_object THEN
            problem := 'cannot be evaluated: ' || SQLERRM;
        END;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'invalid_parameter_value', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'filter';
    END IF;
    RETURN accepted_bytes;
END
$$;
