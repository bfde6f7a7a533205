-- ----------------------------------------------------------------------
-- doctor/list_missing_partitions: days of the attempt log without a partition.
--
-- Parameters: $1 how many days ahead to look.
-- Returns:    the days, counted from today; and when the day after the oldest
--             partition began. One row with a null if none is missing.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH partitions AS MATERIALIZED (
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'pgtopic.attempts'::regclass AND c.relname ~ '^attempts_[0-9]{8}$'
)
SELECT x.day AS missing, (SELECT (min(p.day) + 1)::timestamp AT TIME ZONE 'UTC' FROM partitions p) AS oldest_ended_at
  FROM (SELECT) AS one
  LEFT JOIN LATERAL (
    SELECT d.day
      FROM generate_series(0, $1::integer) AS d (day)
     WHERE NOT EXISTS (SELECT FROM partitions p WHERE p.day = (now() AT TIME ZONE 'UTC')::date + d.day)) x ON true
 ORDER BY x.day
