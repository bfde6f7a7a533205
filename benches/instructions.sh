#!/usr/bin/env bash
# How many instructions PostgreSQL spends on publishing one message, beside an insert into a bare table: a figure that a busy
# machine does not change. A single-user backend runs under cachegrind, twice with different numbers of inserts; the
# difference is what the inserts cost.
#
# Needs valgrind and PostgreSQL's programs: PG_BIN, or those that pg_config names. Not as root: PostgreSQL refuses that
# (sudo -u postgres benches/instructions.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${PG_BIN:-$(pg_config --bindir)}
home=$(mktemp -d)
trap '"$bin/pg_ctl" -D "$home/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$home"' EXIT

"$bin/initdb" -D "$home/data" -A trust -U postgres --no-sync >/dev/null
"$bin/pg_ctl" -D "$home/data" -w -l "$home/log" -o "-k $home -c listen_addresses= -c fsync=off" start >/dev/null
migrations=(-c 'CREATE SCHEMA pgtopic' -c 'SET search_path = pgtopic, pg_temp')
while read -r file; do migrations+=(-f "$file"); done < <(printf '%s\n' migrations/V*.sql | sort -V)
psql=("$bin/psql" -h "$home" -U postgres -d postgres -q -v ON_ERROR_STOP=1)
"${psql[@]}" "${migrations[@]}" >/dev/null
"${psql[@]}" <<'SQL'
SET search_path = pgtopic;
INSERT INTO topics (name) VALUES ('bench');
INSERT INTO webhooks (topic_id, url, secrets) VALUES (1, 'http://127.0.0.1:9/', '{}');
CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic_id bigint NOT NULL,
    partition_key text NOT NULL DEFAULT 'default', payload json NOT NULL, headers json, idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO messages (topic_id, partition_key, payload) SELECT 1, 'key-' || n % 500, '{}' FROM generate_series(1, 10000) AS n;
VACUUM ANALYZE;
SQL
"$bin/pg_ctl" -D "$home/data" -w -m fast stop >/dev/null

payload="{\"event\":\"$(printf 'x%.0s' {1..288})\"}"
count() { # table, inserts: instructions of the whole run
    {
        echo "PREPARE p (text) AS INSERT INTO pgtopic.$1 (topic_id, partition_key, payload) VALUES (1, \$1, '$payload')"
        for ((n = 0; n < $2; n++)); do echo "EXECUTE p ('key-$((n % 500))')"; done
    } >"$home/input"
    valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
        "$bin/postgres" --single -D "$home/data" -c fsync=off postgres <"$home/input" 2>&1 >/dev/null |
        sed -n 's/.*I *refs: *//p' | tr -d ,
}
for table in bare messages; do
    few=$(count "$table" 200)
    many=$(count "$table" 700)
    printf '%-9s %8d instructions an insert\n' "$table" $(((many - few) / 500))
done
