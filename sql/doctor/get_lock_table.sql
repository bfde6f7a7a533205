-- ----------------------------------------------------------------------
-- doctor/get_lock_table: how many locks the topics may need, and the server has.
--
-- Parameters: none.
-- Returns:    one row. Locks that a session holds by itself (fast path) need no
--             room, and are not counted.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT (SELECT count(*) FROM pgtopic.topics t WHERE t.ordering = 'partition') AS topics,
       current_setting('max_locks_per_transaction')::bigint AS per_transaction,
       current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint AS transactions,
       (SELECT count(*) FROM pg_locks l WHERE NOT l.fastpath) AS held
