-- ----------------------------------------------------------------------
-- may_notify: whether transactions of this installation may NOTIFY.
--
-- PostgreSQL refuses PREPARE TRANSACTION after NOTIFY. So two-phase commits
-- that publish need an installation where nobody notifies.
--
-- Returns: what installation.notify says: on is true, off is false; auto is
--          true if the server cannot prepare transactions
--          (max_prepared_transactions is 0).
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.may_notify() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT CASE i.notify WHEN 'on' THEN true
                     WHEN 'off' THEN false
                     ELSE current_setting('max_prepared_transactions') = '0' END
  FROM pgtopic.installation i
$$;
