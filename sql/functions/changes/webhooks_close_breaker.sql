-- ----------------------------------------------------------------------
-- webhooks_close_breaker: AFTER UPDATE on webhooks, for each row whose url,
-- secrets or policy of the breaker have changed, or that was enabled. Closes its
-- breaker: what has failed until now says nothing about it any more.
--
-- Locks: as close_breaker.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_close_breaker() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM pgtopic.close_breaker(NEW.id, NULL, NULL, NULL,
        CASE WHEN NEW.url <> OLD.url THEN 'its url was changed'
             WHEN NEW.secrets <> OLD.secrets THEN 'its secret was changed'
             WHEN NEW.breaker <> OLD.breaker THEN 'its breaker was switched'
             ELSE 'it was enabled' END,
        pgtopic.changed_by());
    RETURN NULL;
END
$$;
