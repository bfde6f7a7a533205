-- ----------------------------------------------------------------------
-- doctor/list_runs: what each piece of background work did last.
--
-- Parameters: none. Returns: one row for each piece. Locks: none.
-- ----------------------------------------------------------------------
SELECT b.piece, b.finished_at, b.error FROM pgtopic.background_runs b ORDER BY b.piece
