-- ----------------------------------------------------------------------
-- webhooks/hold: a receiver has asked for nothing to be sent for a while. Its
-- webhook's lanes are not claimed until then.
--
-- A hold is never shortened.
--
-- Parameters: $1 webhook id, $2 for how many seconds, at most 60.
-- Returns:    nothing. A row is counted if this hold is the longer one.
-- Locks:      the webhook's row.
-- ----------------------------------------------------------------------
UPDATE pgtopic.webhooks w
   SET hold_until = statement_timestamp() + make_interval(secs => least($2::float8, 60))
 WHERE w.id = $1::bigint
   AND (NOT pgtopic.is_held(w.hold_until)
        OR w.hold_until < statement_timestamp() + make_interval(secs => least($2::float8, 60)))
