-- The end of a statement about webhooks w: only one of them.
-- Parameters: $1 its id.
 WHERE w.id = $1::bigint
