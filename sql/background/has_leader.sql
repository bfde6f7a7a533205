-- Whether a worker that lives leads: only then background work is done.
-- Parameters: none. Returns: one boolean. Locks: none.
SELECT EXISTS (SELECT FROM pgtopic.leader l JOIN pgtopic.workers w ON w.id = l.worker AND NOT w.gone)
