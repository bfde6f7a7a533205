-- ----------------------------------------------------------------------
-- webhooks_validate: BEFORE INSERT OR UPDATE on webhooks, for each row with
-- headers. Refuses headers that cannot be sent, as the API does.
--
-- Raises: 23514 the headers break a rule of headers_problem.
-- Locks:  none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_validate() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    problem text := pgtopic.headers_problem(NEW.headers);
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'headers %', problem
            USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'headers';
    END IF;
    RETURN NEW;
END
$$;
