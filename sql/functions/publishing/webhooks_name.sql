-- ----------------------------------------------------------------------
-- webhooks_name: BEFORE INSERT on webhooks, for each row without a name. Gives
-- it one.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_name() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    NEW.name := 'webhook-' || NEW.id;
    RETURN NEW;
END
$$;
