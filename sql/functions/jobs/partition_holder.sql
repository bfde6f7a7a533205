-- ----------------------------------------------------------------------
-- partition_holder: who keeps a job from the partition of a message.
--
-- Parameters: the message; how many messages wait.
-- Returns: a text for people. Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.partition_holder(message_id bigint, waiting integer) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT format('%s messages whose partitions or rows somebody has locked, such as message %s%s', waiting, message_id,
              (SELECT ' (held by ' || string_agg(coalesce('pid ' || l.pid, 'prepared transaction ' || p.gid), ', ') || ')'
                 FROM pgtopic.messages m
                 JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.classid = pgtopic.stripe_class()::oid
                  AND l.objsubid = 2 AND l.objid = pgtopic.stripe(m.topic_id, m.partition_key)::oid
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                 LEFT JOIN pg_prepared_xacts p ON l.virtualtransaction = '-1/' || p.transaction
                WHERE m.id = partition_holder.message_id AND l.pid IS DISTINCT FROM pg_backend_pid()))
$$;
