-- ----------------------------------------------------------------------
-- owed: whether a webhook is owed anything, and what died.
--
-- Parameters: $1 webhook id.
-- Returns:    owed: whether a delivery is left; dead_letters: how many.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = $1::bigint) AS owed,
       (SELECT count(*) FROM dead_letters l WHERE l.webhook_id = $1::bigint) AS dead_letters
