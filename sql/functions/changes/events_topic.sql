-- ----------------------------------------------------------------------
-- events_topic: the topic that changes of state are published to.
--
-- Its name is put together here: the schema's name takes the place of "pgtopic"
-- where a point follows.
--
-- Returns: the id of the topic; null if nobody subscribes to it.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.events_topic() RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT t.id
  FROM pgtopic.topics t
 WHERE t.name = 'pgtopic' || '.events'
   AND EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.topic_id = t.id)
$$;
