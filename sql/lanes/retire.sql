-- Delete the rows of held lanes that ran dry, where nothing is owed.
-- Parameters: worker, webhook ids, lanes, tokens, rewinds.
-- Returns: see retire_lanes in the migrations. Locks: the lanes' stripes, tried; the lanes.
SELECT webhook_id, lane, outcome FROM pgtopic.retire_lanes($1, $2, $3, $4, $5)
