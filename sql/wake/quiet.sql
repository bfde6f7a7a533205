-- Tell publishers that workers poll, so that they need not NOTIFY.
-- Parameters: for how many microseconds from now. Returns: nothing. Locks: none that lasts.
SELECT setval('pgtopic.quiet_until', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $1)
