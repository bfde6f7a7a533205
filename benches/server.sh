# To be sourced. Starts a temporary PostgreSQL, which is stopped and removed at the end. It holds
# the schema, a topic (1) with one webhook, and a bare table with the columns that publishers write.
# The argument is its settings. Sets bin, home, psql, and payload, which has 300 bytes. The schema
# is made by `pgtopic migrate`: BENCH_BIN, or target/release/pgtopic, which must be built before.
bin=${PG_BIN:-$(pg_config --bindir)}
home=$(mktemp -d)
trap '"$bin/pg_ctl" -D "$home/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$home"' EXIT

"$bin/initdb" -D "$home/data" -A trust -U postgres --no-sync >/dev/null
"$bin/pg_ctl" -D "$home/data" -w -l "$home/log" -o "-k $home -c listen_addresses= $1" start >/dev/null
psql=("$bin/psql" -h "$home" -U postgres -d postgres -q -v ON_ERROR_STOP=1)
"${BENCH_BIN:-target/release/pgtopic}" migrate --database-url "postgresql:///postgres?host=$home&user=postgres" >/dev/null
"${psql[@]}" <<'SQL'
SET search_path = pgtopic;
INSERT INTO topics (name) VALUES ('bench');
INSERT INTO webhooks (topic_id, url, secrets) VALUES (1, 'http://127.0.0.1:9/', '{}');
CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic_id bigint NOT NULL,
    partition_key text NOT NULL DEFAULT 'default', payload json NOT NULL, headers json, idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now());
SQL

payload="{\"event\":\"$(printf 'x%.0s' {1..288})\"}"
