-- ----------------------------------------------------------------------
-- refuse_change: BEFORE UPDATE of a column that never changes; its argument is
-- the column's name.
--
-- A message's lane follows from its topic's ordering: were it to change, one
-- partition would have two lanes.
--
-- Raises: 55000.
-- Locks:  none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.refuse_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '%.% cannot be changed', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
