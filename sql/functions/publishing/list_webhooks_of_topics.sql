-- ----------------------------------------------------------------------
-- list_webhooks_of_topics: write webhook_ids and overflowing_webhook of some
-- topics again.
--
-- Two transactions that change the webhooks of one topic wait for each other.
-- The second one sees what the first one has committed, since it reads in a new
-- statement. (Under REPEATABLE READ it fails with 40001 instead.)
--
-- Parameters: topic_ids  the topics; some may be gone
-- Raises:     40001 under REPEATABLE READ and SERIALIZABLE, as above.
-- Locks:      the topics' rows, to the end of the transaction. Publishers do
--             not wait for them.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_webhooks_of_topics(topic_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM FROM pgtopic.topics t WHERE t.id = ANY (topic_ids) ORDER BY t.id FOR NO KEY UPDATE;
    UPDATE pgtopic.topics t
       SET webhook_ids = (SELECT CASE WHEN count(w.filter) + count(w.types) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
                            FROM pgtopic.webhooks w
                           WHERE w.topic_id = t.id),
           overflowing_webhook = (SELECT min(w.id)
                                    FROM pgtopic.webhooks w
                                   WHERE w.topic_id = t.id AND w.overflowing AND w.on_overflow = 'refuse')
     WHERE t.id = ANY (topic_ids);
END
$$;
