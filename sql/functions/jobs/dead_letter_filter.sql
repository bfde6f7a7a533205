-- ----------------------------------------------------------------------
-- dead_letter_filter: what a request asks of dead letters, field by field.
--
-- A statement reads it once, in a MATERIALIZED part of its own. Otherwise the
-- planner puts it into the condition, and it is read for each dead letter.
--
-- Parameters: filter, as a request writes it.
-- Returns:    one row, for dead_letter_fits; before: its until.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.dead_letter_filter(
    filter json, OUT partition_key text, OUT type text, OUT reason text, OUT error_class text, OUT status_code bigint,
    OUT since timestamptz, OUT before timestamptz)
LANGUAGE sql STABLE
AS $$
SELECT filter ->> 'partition_key', filter ->> 'type', filter ->> 'reason', filter ->> 'error_class',
       (filter ->> 'status_code')::bigint, (filter ->> 'since')::timestamptz, (filter ->> 'until')::timestamptz
$$;
