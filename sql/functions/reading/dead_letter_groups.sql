-- ----------------------------------------------------------------------
-- dead_letter_groups: dead letters by webhook, reason, failure and hour.
--
-- Of each webhook the newest look_at are looked at. The function is there for its
-- settings: a hash table of groups is small, and a sort of all dead letters is
-- not.
--
-- Parameters:
--   webhook_ids  of these webhooks
--   partition_key, type, reason, error_class, status_code, since, until
--                as dead_letter_fits
--   look_at      the most dead letters of a webhook to look at
--   at_most      the most groups to return
--
-- Returns: groups: the newest hour first, and in an hour the largest first.
--          capped: the webhook has look_at dead letters or more.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.dead_letter_groups(webhook_ids bigint[], partition_key text, type text, reason text,
                                                      error_class text, status_code bigint, since timestamptz,
                                                      until timestamptz, look_at bigint, at_most bigint)
RETURNS TABLE (webhook_id bigint, reason_given text, error_class_given text, status_code_given smallint, hour timestamptz,
               count bigint, first_at timestamptz, last_at timestamptz, sample_id bigint, capped boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
SET enable_sort = off SET work_mem = '64MB'
AS $$
SELECT w.id, l.reason, l.error_class, l.status_code, date_bin('1 hour', l.created_at, '1970-01-01Z') AS hour,
       count(*), min(l.created_at), max(l.created_at), max(l.id), bool_or(l.looked_at >= dead_letter_groups.look_at)
  FROM unnest(dead_letter_groups.webhook_ids) w (id)
 CROSS JOIN LATERAL (
    SELECT n.*, count(*) OVER () AS looked_at
      FROM (SELECT x.id, x.reason, x.error_class, x.status_code, x.created_at,
                   pgtopic.dead_letter_fits(x, dead_letter_groups.partition_key, dead_letter_groups.type,
                                            dead_letter_groups.reason, dead_letter_groups.error_class,
                                            dead_letter_groups.status_code, dead_letter_groups.since,
                                            dead_letter_groups.until) AS fits
              FROM pgtopic.dead_letters x
             -- Not "=": then the planner may read the dead letters of all webhooks in the order of
             -- their ids, and leave out those of others.
             WHERE x.webhook_id + 0 >= w.id AND x.webhook_id + 0 <= w.id
             ORDER BY x.webhook_id + 0 DESC, x.id DESC
             LIMIT dead_letter_groups.look_at) n) l
 WHERE l.fits
 GROUP BY 1, 2, 3, 4, 5
 ORDER BY 5 DESC, 6 DESC, 9 DESC
 LIMIT dead_letter_groups.at_most
$$;
