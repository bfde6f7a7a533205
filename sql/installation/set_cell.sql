-- ----------------------------------------------------------------------
-- installation/set_cell: give this installation its cell.
--
-- Parameters: $1 0 to 1023.
-- Returns:    the first message id that is given out from now on; null if it
--             has this cell already.
-- Locks:      see set_cell in sql/functions/installation.
-- ----------------------------------------------------------------------
SELECT pgtopic.set_cell($1)
