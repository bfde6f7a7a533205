-- ----------------------------------------------------------------------
-- dead_letter_groups: dead letters by webhook, reason, failure and hour.
--
-- The function is there for its settings: a hash table of groups is small, and
-- a sort of all dead letters is not.
--
-- Parameters:
--   webhook_ids  of these webhooks
--   partition_key, type, reason, error_class, status_code, since, until
--                as dead_letter_fits
--   at_most      the most groups to return
--
-- Returns: groups: the newest hour first, and in an hour the largest first.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.dead_letter_groups(webhook_ids bigint[], partition_key text, type text, reason text,
                                                      error_class text, status_code bigint, since timestamptz,
                                                      until timestamptz, at_most bigint)
RETURNS TABLE (webhook_id bigint, reason_given text, error_class_given text, status_code_given smallint, hour timestamptz,
               count bigint, first_at timestamptz, last_at timestamptz, sample_id bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
SET enable_sort = off SET work_mem = '64MB'
AS $$
SELECT x.webhook_id, x.reason, x.error_class, x.status_code, date_bin('1 hour', x.created_at, '1970-01-01Z') AS hour,
       count(*), min(x.created_at), max(x.created_at), max(x.id)
  FROM pgtopic.dead_letters x
 WHERE x.webhook_id = ANY (dead_letter_groups.webhook_ids)
   AND pgtopic.dead_letter_fits(x, dead_letter_groups.partition_key, dead_letter_groups.type, dead_letter_groups.reason,
                                dead_letter_groups.error_class, dead_letter_groups.status_code, dead_letter_groups.since,
                                dead_letter_groups.until)
 GROUP BY 1, 2, 3, 4, 5
 ORDER BY 5 DESC, 6 DESC, 9 DESC
 LIMIT dead_letter_groups.at_most
$$;
