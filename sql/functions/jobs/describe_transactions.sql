-- ----------------------------------------------------------------------
-- describe_transactions: what a backfill waits for, for people.
--
-- Parameters: progress  as open_transactions returns it
-- Returns:    a text.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.describe_transactions(progress json) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT 'transactions that began before the webhook was created: ' || coalesce(string_agg(x.name, ', ' ORDER BY x.name), 'they end now')
  FROM (SELECT concat_ws(' ', 'pid', l.pid,
                         '(' || concat_ws(', ', a.usename, nullif(a.application_name, ''), 'since ' || a.xact_start) || ')') AS name
          FROM json_array_elements_text((progress ->> 'open')::json) o
          JOIN pg_locks l ON l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.virtualtransaction = o
          LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         UNION ALL
        SELECT 'prepared transaction ' || p.gid
          FROM json_array_elements_text((progress ->> 'prepared')::json) o
          JOIN pg_prepared_xacts p ON p.transaction::text = o) x
$$;
