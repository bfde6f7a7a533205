-- The end of a statement about webhooks w: only some of them.
-- Parameters: $1 their ids.
 WHERE w.id = ANY ($1::bigint[])
