-- ----------------------------------------------------------------------
-- background/note_run: note that a piece of background work was done, or has
-- failed.
--
-- Parameters: $1 the piece, $2 the worker, $3 for how many seconds it ran,
--             $4 how many rows it dealt with, $5 the error or null.
-- Returns:    nothing.
-- Locks:      the piece's row. No flush.
-- ----------------------------------------------------------------------
INSERT INTO pgtopic.background_runs AS b (piece, worker, started_at, finished_at, did, did_in_all, error, error_at)
SELECT $1::text, $2::uuid, r.finished_at - make_interval(secs => $3::float8), r.finished_at, $4::bigint, $4, $5::text,
       CASE WHEN $5 IS NOT NULL THEN r.finished_at END
  FROM (SELECT clock_timestamp() AS finished_at, set_config('synchronous_commit', 'off', true)) r
    ON CONFLICT (piece) DO UPDATE
   SET worker = excluded.worker, started_at = excluded.started_at, finished_at = excluded.finished_at, did = excluded.did,
       did_in_all = b.did_in_all + excluded.did, error = excluded.error, error_at = coalesce(excluded.error_at, b.error_at)
