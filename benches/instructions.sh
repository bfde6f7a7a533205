#!/usr/bin/env bash
# How many instructions PostgreSQL spends on publishing one message, compared with an insert into a
# bare table. A busy machine does not change this figure. A single-user backend runs under
# cachegrind, twice with different numbers of inserts. The difference is what the inserts cost.
#
# It needs valgrind and PostgreSQL's programs: PG_BIN, or those that pg_config names. PostgreSQL
# refuses to run as root: sudo -u postgres benches/instructions.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/server.sh '-c fsync=off'
"${psql[@]}" <<'SQL'
SET search_path = pgtopic;
INSERT INTO messages (topic_id, partition_key, payload) SELECT 1, 'key-' || n % 500, '{}' FROM generate_series(1, 10000) AS n;
VACUUM ANALYZE;
SQL
"$bin/pg_ctl" -D "$home/data" -w -m fast stop >/dev/null

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
