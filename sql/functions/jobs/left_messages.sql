-- ----------------------------------------------------------------------
-- left_messages: the ids that a job's earlier steps have left, because somebody
-- held their partitions or rows. The next step tries them first.
-- Returns: ids, in the order in which they were left. Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.left_messages(progress json) RETURNS bigint[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT ARRAY(SELECT e::bigint FROM json_array_elements_text(progress -> 'left') e)
$$;
