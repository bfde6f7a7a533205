-- ----------------------------------------------------------------------
-- activity/append: write what a worker sent in the last seconds.
--
-- Parameters: $1 the worker, $2 for how many seconds; then an element for each
--             webhook: $3 ids, $4 accepted, $5 failed, $6 dead, $7 in flight,
--             $8 latencies as arrays in text, $9 last success, $10 last
--             failure, $11 failing since, $12 status, $13 error class, $14
--             error.
-- Returns:    nothing. Webhooks that are gone are left out.
-- Locks:      none.
-- ----------------------------------------------------------------------
INSERT INTO pgtopic.activity (worker_id, webhook_id, at, seconds, accepted, failed, dead, in_flight, latency, last_success_at,
                              last_failure_at, failing_since, last_status_code, last_error_class, last_error)
SELECT $1::uuid, r.webhook_id, now() - make_interval(secs => $2::integer), $2::integer, r.accepted, r.failed, r.dead, r.in_flight,
       r.latency::bigint[], r.last_success_at, r.last_failure_at, r.failing_since, r.last_status_code, r.last_error_class, r.last_error
  FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::integer[], $8::text[], $9::timestamptz[],
              $10::timestamptz[], $11::timestamptz[], $12::smallint[], $13::text[], $14::text[])
       r (webhook_id, accepted, failed, dead, in_flight, latency, last_success_at, last_failure_at, failing_since, last_status_code,
          last_error_class, last_error)
 WHERE EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = r.webhook_id)
