-- ----------------------------------------------------------------------
-- installation/set_notify: set whether transactions that publish may NOTIFY.
--
-- Parameters: $1 auto, on or off.
-- Returns:    nothing; one row is counted if the value was another one before.
-- Locks:      the row.
-- ----------------------------------------------------------------------
UPDATE pgtopic.installation SET notify = $1::text WHERE notify <> $1::text
