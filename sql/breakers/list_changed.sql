-- Breakers that may have changed since an instant.
-- Parameters: from which changed_at on (null: all of them), for how many seconds a suspicion lasts.
-- Returns: one row for each: webhook, state, epoch, whether a worker suspects the webhook, whether
-- its lanes are to be made due (wake_lanes). Locks: none.
SELECT b.webhook_id, b.state, b.epoch,
       coalesce(b.suspected_at > clock_timestamp() - make_interval(secs => $2::float8), false),
       b.wake_after IS NOT NULL
  FROM pgtopic.breakers b
 WHERE b.changed_at >= coalesce($1::timestamptz, '-infinity')
