-- ----------------------------------------------------------------------
-- doctor/list_settings: settings that may lose data or switch something off, as
-- the server has them, and as roles and databases begin with them.
--
-- This session sets some of them itself, and roles and databases set others. So
-- such values are left out of those of the server.
--
-- Parameters: $1 the names.
-- Returns:    names, values, and what each was set for (null: the server).
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT s.name, s.setting AS value, NULL::text AS of
  FROM pg_settings s
 WHERE s.name = ANY ($1::text[]) AND s.source NOT IN ('session', 'database', 'user', 'database user')
UNION ALL
SELECT split_part(given, '=', 1), split_part(given, '=', 2),
       concat_ws(' IN ', CASE WHEN r.setrole <> 0 THEN 'ROLE ' || quote_ident(pg_get_userbyid(r.setrole)) END,
                         CASE WHEN r.setdatabase <> 0 THEN 'DATABASE ' || quote_ident(d.datname) END)
  FROM pg_db_role_setting r
 CROSS JOIN unnest(r.setconfig) AS given
  LEFT JOIN pg_database d ON d.oid = r.setdatabase
 WHERE split_part(given, '=', 1) = ANY ($1::text[]) AND (r.setdatabase = 0 OR d.datname = current_database())
