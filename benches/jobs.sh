#!/usr/bin/env bash
# How fast the jobs of operators are: messages or dead letters a second, from the start of a job to
# its end. Nothing is sent meanwhile. Each kind runs over 10,000 lanes and over 20.
#
#   benches/jobs.sh [MESSAGES]
#
# The default is 200,000 messages a topic. It needs PostgreSQL's programs: PG_BIN, or those that
# pg_config names; the broker's: BENCH_BIN, or target/release/pgtopic; and curl. BENCH_SQL names a
# file that is run first, such as functions of another version to compare with. PostgreSQL refuses
# to run as root: sudo -u postgres benches/jobs.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
messages=${1:-200000}
source benches/server.sh '-c shared_buffers=512MB -c max_wal_size=8GB'
if [[ -n ${BENCH_SQL:-} ]]; then "${psql[@]}" -f "$BENCH_SQL"; fi
"${psql[@]}" -v messages="$messages" <<'SQL'
SET search_path = pgtopic;
SET synchronous_commit = off;
SET session_replication_role = replica;
UPDATE topics SET paused = 'hold';
INSERT INTO topics (name, paused) VALUES ('narrow', 'hold');
INSERT INTO webhooks (topic_id, url, secrets, name) VALUES (2, 'http://127.0.0.1:9/', '{}', 'narrow');
INSERT INTO messages (id, topic_id, partition_key, type, payload, size_bytes, lane)
SELECT n, t.id, k.key, 'order.paid', '{"order": 17}', 13, hashtextextended(k.key, t.id)
  FROM topics t
 CROSS JOIN LATERAL generate_series((t.id - 1) * :messages + 1, t.id * :messages) n
 CROSS JOIN LATERAL (SELECT 'user-' || n % CASE t.id WHEN 1 THEN 10000 ELSE 20 END AS key) k;
SELECT setval('message_ids', 2 * :messages) \gset
VACUUM ANALYZE;
SQL

port=$((20000 + RANDOM % 20000))
"${BENCH_BIN:-target/release/pgtopic}" serve --no-migrate --bind "127.0.0.1:$port" \
    --database-url "postgresql:///postgres?host=$home&user=postgres" >"$home/serve.log" 2>&1 &
serve=$!
trap 'kill $serve; "$bin/pg_ctl" -D "$home/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$home"' EXIT
until curl -sf "http://127.0.0.1:$port/readyz" >/dev/null; do sleep 0.1; done

# Dead letters of all messages of topic $1, and nothing owed.
give_up() {
    "${psql[@]}" -v topic="$1" <<'SQL'
SET search_path = pgtopic;
TRUNCATE deliveries, lanes, dead_letters;
INSERT INTO dead_letters (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts, error_class, last_error)
SELECT :topic, m.lane, m.id, :topic, m.partition_key, m.type, 'attempts_exhausted', 5, 'timeout', 'it failed'
  FROM messages m WHERE m.topic_id = :topic ORDER BY m.id;
VACUUM ANALYZE dead_letters;
SQL
}

# Makes the job that a request for path $2 with body $3 asks for, and prints its rate as $1.
measure() {
    curl -sf -o /dev/null -X POST -H 'content-type: application/json' -d "$3" "http://127.0.0.1:$port$2"
    until [[ $("${psql[@]}" -Atc "SELECT bool_and(finished_at IS NOT NULL) FROM pgtopic.jobs") == t ]]; do sleep 0.2; done
    "${psql[@]}" -v name="$1" -At <<'SQL'
SELECT format('%-32s %8s %-10s %8s/s', :'name', done, state, round(done / extract(epoch FROM finished_at - started_at)))
  FROM pgtopic.jobs ORDER BY id DESC LIMIT 1
SQL
}

for topic in 1 2; do
    if [[ $topic == 1 ]]; then lanes=10000 name=bench; else lanes=20 name=narrow; fi
    "${psql[@]}" -c 'TRUNCATE pgtopic.deliveries, pgtopic.lanes, pgtopic.dead_letters'
    measure "replay of a range, $lanes lanes" "/webhooks/$topic/replay" '{"all": true}'
    give_up $topic
    measure "replay of dead letters, $lanes" /dead-letter/replay '{"all": true}'
    give_up $topic
    measure "discard of dead letters, $lanes" /dead-letter/discard '{"all": true}'
    measure "backfill, $lanes lanes" /webhooks "{\"topic\": \"$name\", \"url\": \"https://example.com/\", \"start_from\": \"beginning\"}"
    # What the backfill has made owed.
    measure "cancel, $lanes lanes" "/webhooks/$((topic + 2))/cancel" '{"all": true}'
done
