-- ----------------------------------------------------------------------
-- refuse_change: BEFORE UPDATE of a column that must never change. Its argument
-- is the column's name.
--
-- A topic's ordering decides the lane of a message. If the ordering changed,
-- one partition would have two lanes.
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
