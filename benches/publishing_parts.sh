#!/usr/bin/env bash
# What the parts of publishing cost. pgbench inserts in turns into a bare table, into a table whose
# trigger does nothing, messages that are owed to nobody, and messages that are owed to one webhook.
# It prints the median of each round's ratio to the bare table, and the processor time of
# PostgreSQL's sessions (without the kernel's) in microseconds a message.
#
#   benches/publishing_parts.sh [ROUNDS [SECONDS [CLIENTS...]]]
#
# The default is 5 rounds of 4 seconds with 1, 8 and 32 clients.
#
# It needs PostgreSQL's programs: PG_BIN, or those that pg_config names. PostgreSQL refuses to run
# as root: sudo -u postgres benches/publishing_parts.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} seconds=${2:-4}
shift $(($# < 2 ? $# : 2))
clients=("$@")
[ $# -gt 0 ] || clients=(1 8 32)
source benches/server.sh \
    '-c full_page_writes=off -c shared_buffers=512MB -c max_wal_size=8GB -c checkpoint_timeout=30min'
"${psql[@]}" <<'SQL'
SET search_path = pgtopic;
INSERT INTO topics (name) VALUES ('unsubscribed');
CREATE TABLE idle_trigger (LIKE bare INCLUDING ALL);
CREATE FUNCTION do_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER do_nothing BEFORE INSERT ON idle_trigger FOR EACH ROW EXECUTE FUNCTION do_nothing();
SQL

script() { # name, table, topic
    printf '\\set key random(0, 999)\nINSERT INTO pgtopic.%s (topic_id, partition_key, payload) VALUES (%s, :key::text, '\''%s'\'');\n' \
        "$2" "$3" "$payload" >"$home/$1.sql"
}
kinds=(bare idle_trigger nobody webhook)
script bare bare 1
script idle_trigger idle_trigger 1
script nobody messages 2
script webhook messages 1

ticks=$(getconf CLK_TCK)
server=$(head -1 "$home/data/postmaster.pid")
# The server knows what its sessions took once they have ended.
processes=$(pgrep -c -P "$server")
user_ticks() {
    until [ "$(pgrep -c -P "$server")" -le "$processes" ]; do sleep 0.02; done
    awk '{ sub(/.*\) /, ""); print $14 }' "/proc/$server/stat"
}
turn() { # kind, clients: rate and microseconds
    local before after
    "${psql[@]}" -c CHECKPOINT
    before=$(user_ticks)
    "$bin/pgbench" -h "$home" -U postgres -n -M prepared -c "$2" -j 2 -T "$seconds" -f "$home/$1.sql" postgres \
        >"$home/out" 2>"$home/err" || { cat "$home/err"; exit 1; }
    after=$(user_ticks)
    awk -v ticks=$((after - before)) -v hertz="$ticks" '
        /transactions actually processed/ { count = $NF }
        /^tps/ { printf "%s %.1f\n", $3, ticks / hertz * 1e6 / count }' "$home/out"
}
median() { sort -g | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }

printf '%8s  %-14s %10s %14s %22s\n' clients kind inserts/s 'of bare' 'session, CPU µs each'
for number in "${clients[@]}"; do
    for kind in "${kinds[@]}"; do turn "$kind" "$number" >/dev/null; done
    for ((round = 0; round < rounds; round++)); do
        for ((n = 0; n < ${#kinds[@]}; n++)); do
            kind=${kinds[(n + round) % ${#kinds[@]}]}
            turn "$kind" "$number" >"$home/$number.$kind.$round"
        done
    done
    for kind in "${kinds[@]}"; do
        for ((round = 0; round < rounds; round++)); do
            paste -d' ' "$home/$number.$kind.$round" "$home/$number.bare.$round"
        done >"$home/all"
        printf '%8d  %-14s %10.0f %14.3f %22.0f\n' "$number" "$kind" "$(awk '{ print $1 }' "$home/all" | median)" \
            "$(awk '{ print $1 / $3 }' "$home/all" | median)" "$(awk '{ print $2 }' "$home/all" | median)"
    done
done
