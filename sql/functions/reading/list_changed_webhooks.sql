-- ----------------------------------------------------------------------
-- list_changed_webhooks: which webhooks may have changed lately, themselves or
-- by a pause of their topic, and how many webhooks there are.
--
-- What is deleted is not listed: the caller finds that their number does not
-- fit. What is committed long after it was written may be missed, since
-- changed_at is the time of the write.
--
-- Parameters: since  from which changed_at on.
-- Returns: one row for each webhook that changed since then, or whose topic did:
--          its id, its xmin, and whether it may be claimed. With each of them
--          looked_at, the start of the statement, and webhooks, the number of
--          all webhooks. If none has changed: one row with these two alone.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_changed_webhooks(since timestamptz)
RETURNS TABLE (webhook_id bigint, version text, deliverable boolean, looked_at timestamptz, webhooks bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.id, c.version, c.deliverable, statement_timestamp(), n.webhooks
      FROM (SELECT count(*) AS webhooks FROM pgtopic.webhooks) n
      LEFT JOIN LATERAL (
        SELECT w.id, w.xmin::text AS version,
               w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND t.paused IS DISTINCT FROM 'hold' AS deliverable
          FROM pgtopic.webhooks w
         CROSS JOIN LATERAL (SELECT t.paused FROM pgtopic.topics t WHERE t.id = w.topic_id LIMIT 1) t
         WHERE w.changed_at >= list_changed_webhooks.since
        UNION ALL
        SELECT w.id, w.xmin::text,
               w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND t.paused IS DISTINCT FROM 'hold'
          FROM pgtopic.topics t
         CROSS JOIN LATERAL (SELECT w.*, w.xmin FROM pgtopic.webhooks w WHERE w.topic_id = t.id OFFSET 0) w
         WHERE t.changed_at >= list_changed_webhooks.since AND w.changed_at < list_changed_webhooks.since
      ) c ON true;
END
$$;
