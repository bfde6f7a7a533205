-- ----------------------------------------------------------------------
-- installation/set_notify: say whether transactions that publish NOTIFY.
--
-- Parameters: $1 auto, on or off.
-- Returns:    nothing; a row is counted where it was another one before.
-- Locks:      the row.
-- ----------------------------------------------------------------------
UPDATE pgtopic.installation SET notify = $1::text WHERE notify <> $1::text
