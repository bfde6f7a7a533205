-- Delete the rows of held lanes that owe nothing.
-- Parameters: worker, webhook ids, lanes, tokens, generations.
-- Returns: see remove_idle_lanes. Locks: the lanes' stripes, tried; the lanes (SKIP LOCKED).
SELECT webhook_id, lane, outcome FROM pgtopic.remove_idle_lanes($1, $2, $3, $4, $5)
