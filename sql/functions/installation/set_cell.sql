-- ----------------------------------------------------------------------
-- set_cell: give this installation its cell, a number that no other one has.
--
-- From then on message ids are given out interleaved: id mod 1024 is the cell.
-- So ids are unique over all installations that have a cell. The first such id
-- is above all earlier ones.
--
-- Parameters: new_cell  0 to 1023
-- Returns: the first id that is given out from now on; null if the installation
--          has this cell already.
-- Raises:  55000 it has another cell; 23514 not within 0 to 1023.
-- Locks:   the row of installation; the sequence, against everybody who takes
--          an id. So it waits for every transaction that has taken one.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.set_cell(new_cell integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    old_cell integer;
    given    bigint;
    first_id bigint;
BEGIN
    SELECT i.cell INTO old_cell FROM pgtopic.installation i FOR UPDATE;
    IF old_cell = new_cell THEN
        RETURN NULL;
    ELSIF old_cell IS NOT NULL THEN
        RAISE EXCEPTION 'this installation has cell % already, and a cell never changes', old_cell
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE pgtopic.installation SET cell = new_cell;
    -- This takes the lock. What is read below it does not change any more.
    ALTER SEQUENCE pgtopic.message_ids INCREMENT BY 1024;
    SELECT greatest(s.last_value, (SELECT max(m.id) FROM pgtopic.messages m), (SELECT max(d.message_id) FROM pgtopic.dead_letters d))
      INTO given
      FROM pgtopic.message_ids s;
    first_id := (given / 1024 + 1) * 1024 + new_cell;
    -- The search path finds it: the schema's name may hold a %.
    EXECUTE format('ALTER SEQUENCE message_ids START WITH %s RESTART WITH %s', first_id, first_id);
    RETURN first_id;
END
$$;
