-- ----------------------------------------------------------------------
-- dead_letter_fits: whether a dead letter is one of those that a filter means.
--
-- The function has no SET. So PostgreSQL puts its text into the statement that
-- calls it.
--
-- Parameters:
--   letter  the dead letter
--   partition_key, type, reason, error_class, status_code, since, until
--           what it must have; null: anything. Without a reason, what was
--           canceled or superseded does not fit.
--
-- Returns: whether it fits.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.dead_letter_fits(letter pgtopic.dead_letters, partition_key text, type text, reason text,
                                                    error_class text, status_code bigint, since timestamptz,
                                                    until timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT (dead_letter_fits.partition_key IS NULL OR letter.partition_key = dead_letter_fits.partition_key)
   AND (dead_letter_fits.type IS NULL OR letter.type = dead_letter_fits.type)
   AND CASE WHEN dead_letter_fits.reason IS NULL THEN letter.reason NOT IN ('canceled', 'superseded')
            ELSE letter.reason = dead_letter_fits.reason END
   AND (dead_letter_fits.error_class IS NULL OR letter.error_class = dead_letter_fits.error_class)
   AND (dead_letter_fits.status_code IS NULL OR letter.status_code = dead_letter_fits.status_code)
   AND (dead_letter_fits.since IS NULL OR letter.created_at >= dead_letter_fits.since)
   AND (dead_letter_fits.until IS NULL OR letter.created_at < dead_letter_fits.until)
$$;
