-- ----------------------------------------------------------------------
-- topics_arrived: BEFORE INSERT OR UPDATE on topics, for each row that is
-- written while triggers are switched off (logical replication,
-- session_replication_role = replica). Lists the webhooks that are here, which
-- may be others than elsewhere, and writes when the row changed here.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.topics_arrived() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    SELECT CASE WHEN count(w.filter) + count(w.types) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
      INTO NEW.webhook_ids
      FROM pgtopic.webhooks w
     WHERE w.topic_id = NEW.id;
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END
$$;
