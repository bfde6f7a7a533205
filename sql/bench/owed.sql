-- ----------------------------------------------------------------------
-- bench/owed: whether a webhook is owed anything, and how many dead letters it
-- has.
--
-- Parameters: $1 webhook id.
-- Returns:    owed: whether a delivery is left; dead_letters: the count.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT EXISTS (SELECT FROM pgtopic.deliveries d WHERE d.webhook_id = $1::bigint) AS owed,
       (SELECT count(*) FROM pgtopic.dead_letters l WHERE l.webhook_id = $1::bigint) AS dead_letters
