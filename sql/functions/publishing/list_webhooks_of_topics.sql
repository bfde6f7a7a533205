-- ----------------------------------------------------------------------
-- list_webhooks_of_topics: writes webhook_ids of some topics anew.
--
-- Two transactions that subscribe to one topic take turns: the second sees
-- what the first has committed, since it reads in a new statement. (Under
-- REPEATABLE READ it fails with 40001 instead.)
--
-- Parameters: topic_ids  of topics, which may be gone
-- Locks:      the topics' rows, to the end of the transaction; publishers do
--             not wait for them.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_webhooks_of_topics(topic_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM FROM pgtopic.topics t WHERE t.id = ANY (topic_ids) ORDER BY t.id FOR NO KEY UPDATE;
    UPDATE pgtopic.topics t
       SET webhook_ids = (SELECT CASE WHEN count(w.filter) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
                            FROM pgtopic.webhooks w
                           WHERE w.topic_id = t.id)
     WHERE t.id = ANY (topic_ids);
END
$$;
