-- Register an incarnation. It holds its lock already.
-- Parameters: id, lock key, name, version, capacity, lease (seconds), topics or null, settings.
-- Returns: nothing. Locks: the new row.
INSERT INTO pgtopic.workers (id, lock_key, name, version, capacity, lease, topics, settings)
VALUES ($1, $2, $3, $4, $5, make_interval(secs => $6), $7, $8)
