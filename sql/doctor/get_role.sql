-- ----------------------------------------------------------------------
-- doctor/get_role: this role, and whether it sees what other roles do.
--
-- Parameters: none.
-- Returns:    its name as SQL writes it; whether it has the rights of
--             pg_read_all_stats.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT quote_ident(current_user) AS role, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_others
