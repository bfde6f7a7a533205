-- ----------------------------------------------------------------------
-- body_format: the format of a webhook's requests.
--
-- Parameters: format and batch_size of the webhook
-- Returns:    the format; if the webhook has none: 'envelope' for batches, else
--             'raw'.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.body_format(format text, batch_size integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT coalesce(format, CASE WHEN batch_size OPERATOR(pg_catalog.>) 1 THEN 'envelope' ELSE 'raw' END)
$$;
