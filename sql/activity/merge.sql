-- Turn old rows of activity into rows of longer spans.
-- Parameters: seconds now, seconds then, how old (seconds), how many rows.
-- Returns: how many rows it took. Locks: these rows.
SELECT pgtopic.merge_activity($1, $2, make_interval(secs => $3::double precision), $4)
