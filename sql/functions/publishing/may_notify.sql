-- ----------------------------------------------------------------------
-- may_notify: whether transactions of this installation may NOTIFY.
--
-- PostgreSQL refuses PREPARE TRANSACTION after NOTIFY, so two-phase commits
-- that publish need a server where nobody does.
--
-- Returns: what installation.notify says; auto: whether no transaction can be
--          prepared here.
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
