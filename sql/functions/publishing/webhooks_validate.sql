-- ----------------------------------------------------------------------
-- webhooks_validate: BEFORE INSERT OR UPDATE OF headers, filter, filter_limit,
-- types on webhooks, for each row. Refuses headers that cannot be sent and types
-- that are none, as the API does, and what is no filter or costs publishers too
-- much. Writes filter_limit.
--
-- What does not change is not checked again, so that its webhook can still be
-- changed and paused.
--
-- Raises: 23514 the headers break a rule of headers_problem, or the types are
--         none; as check_filter.
-- Locks:  none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_validate() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    problem text;
BEGIN
    IF NEW.types IS NOT NULL AND EXISTS (SELECT FROM unnest(NEW.types) AS t (name)
                                          WHERE (octet_length(t.name) BETWEEN 1 AND 255 AND position('*' IN left(t.name, -1)) = 0) IS NOT TRUE)
    THEN
        RAISE EXCEPTION 'types must be texts of 1 to 255 bytes, with a * only at the end'
            USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'types';
    END IF;
    IF TG_OP = 'INSERT' OR NEW.headers::text IS DISTINCT FROM OLD.headers::text THEN
        problem := pgtopic.headers_problem(NEW.headers);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'headers %', problem
                USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'headers';
        END IF;
    END IF;
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
