#!/usr/bin/env bash
# How long the lists of operators and the pages of the console take over HTTP, with many deliveries
# owed and many dead letters: the median and the slowest of 20 requests each, in milliseconds.
#
#   benches/lists.sh [OWED [DEAD]]
#
# The default is 1,000,000 owed and 100,000 dead letters. It needs PostgreSQL's programs: PG_BIN, or
# those that pg_config names; the broker's: BENCH_BIN, or target/release/pgtopic; and curl.
# PostgreSQL refuses to run as root: sudo -u postgres benches/lists.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
owed=${1:-1000000} dead=${2:-100000}
source benches/server.sh '-c shared_buffers=512MB -c max_wal_size=8GB'
"${psql[@]}" -v owed="$owed" -v dead="$dead" <<'SQL'
SET search_path = pgtopic;
SET synchronous_commit = off;
SET session_replication_role = replica;
INSERT INTO topics (name) VALUES ('quiet');
INSERT INTO webhooks (topic_id, url, secrets, name) VALUES (2, 'http://127.0.0.1:9/', '{}', 'quiet');
-- 10,000 lanes. Those of the dead letters come first. Three causes.
INSERT INTO messages (id, topic_id, partition_key, type, payload, size_bytes, lane)
SELECT n, 1, k.key, 'order.paid', '{"order": 17}', 13, hashtextextended(k.key, 1)
  FROM generate_series(1, :owed + :dead) n
 CROSS JOIN LATERAL (SELECT 'user-' || n % 10000 AS key) k;
INSERT INTO dead_letters (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts, error_class, status_code,
                          last_error, created_at)
SELECT 1, m.lane, m.id, 1, m.partition_key, m.type, 'attempts_exhausted', 5, (ARRAY['status', 'timeout', 'connect'])[1 + m.id % 3],
       CASE m.id % 3 WHEN 0 THEN 500 END, 'it failed', now() - interval '5 hours' + m.id * interval '0.1 s'
  FROM messages m WHERE m.id <= :dead;
INSERT INTO deliveries (webhook_id, lane, message_id) SELECT 1, m.lane, m.id FROM messages m WHERE m.id > :dead;
INSERT INTO lanes (webhook_id, lane, position, due_at, stripe, partition_key, failures, head_message_id, last_error, halted)
SELECT 1, d.lane, min(d.message_id) - 1,
       CASE (min(d.message_id) % 10)::int WHEN 0 THEN 'infinity'::timestamptz WHEN 1 THEN now() + interval '1 hour' ELSE now() END,
       stripe(1, min(m.partition_key)), min(m.partition_key), CASE WHEN min(d.message_id) % 10 < 2 THEN 3 ELSE 0 END,
       min(d.message_id), 'it failed', min(d.message_id) % 10 = 0
  FROM deliveries d JOIN messages m ON m.id = d.message_id
 GROUP BY d.lane;
INSERT INTO attempts (webhook_id, message_id, attempt, outcome, error_class, status_code, error, duration_us, worker_id, attempted_at)
SELECT x.webhook_id, x.message_id, 5, 'failed', x.error_class, x.status_code, x.last_error, 1000, gen_random_uuid(), now()
  FROM dead_letters x;
SELECT setval('message_ids', :owed + :dead);
VACUUM ANALYZE;
SQL

port=$((20000 + RANDOM % 20000))
"${BENCH_BIN:-target/release/pgtopic}" api --no-migrate --bind "127.0.0.1:$port" \
    --database-url "postgresql:///postgres?host=$home&user=postgres" >"$home/api.log" 2>&1 &
api=$!
trap 'kill $api; "$bin/pg_ctl" -D "$home/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$home"' EXIT
until curl -sf "http://127.0.0.1:$port/readyz" >/dev/null; do sleep 0.1; done

for path in \
    '/dead-letter' '/dead-letter?limit=1000' '/dead-letter?error_class=timeout' '/dead-letter?partition_key=user-5' \
    '/dead-letter?reason=canceled' '/dead-letter?webhook_id=1&since=2020-01-01T00:00:00Z' '/dead-letter/count' \
    '/dead-letter/count?error_class=timeout' '/dead-letter/groups' '/dead-letter/1' \
    '/deliveries' '/deliveries?limit=1000' '/deliveries?status=dead' '/deliveries?status=retrying' '/deliveries?status=delivered' \
    '/deliveries?topic=quiet' '/webhooks/1/deliveries' '/webhooks/1/deliveries?status=pending&limit=1000' \
    '/webhooks/1/deliveries?status=retrying' '/webhooks/1/deliveries?status=halted' '/webhooks/1/deliveries?status=in_flight' \
    '/webhooks/1/deliveries?status=dead' '/webhooks/1/deliveries?status=canceled' \
    '/webhooks/1/deliveries?status=pending&partition_key=user-5' '/webhooks/2/deliveries' \
    '/webhooks/1/lanes' '/webhooks/1/lanes?limit=1000' '/webhooks/1/lanes?state=halted' '/webhooks/1/lanes?state=waiting' \
    '/webhooks/1/lanes?state=claimed' '/webhooks/1/lanes?partition_key=user-5' \
    '/console/' '/console/topics' '/console/topics/bench' '/console/webhooks' '/console/webhooks/1' '/console/lanes?webhook=1' \
    '/console/lane?webhook=1&partition_key=user-5' "/console/messages/$((dead + 5))" '/console/messages/5' \
    "/console/deliveries/1/$((dead + 5))" '/console/deliveries/1/5' '/console/dead-letters' \
    '/console/dead-letters?error_class=timeout' '/console/dead-letters/replay' '/console/dead-letters/replay?error_class=timeout' \
    '/console/dead-letters/discard?webhook_id=1' '/console/jobs' '/console/workers' '/console/health' '/console/settings'; do
    for _ in $(seq 20); do
        curl -s -o "$home/answer" -w '%{time_total} %{http_code}\n' "http://127.0.0.1:$port$path"
    done | sort -n | awk -v path="$path" '$2 != 200 { print path, "answered", $2; exit 1 }
        { time[NR] = $1 * 1000 } END { printf "%-70s %7.1f %7.1f\n", path, time[10], time[NR] }'
done
