-- Call pgtopic.replay_dead_letters, which says what it does.
-- Parameters: $1 the ids, $2 whether to wait for stripes.
SELECT r.dead_letter_id, r.webhook_id, r.message_id, r.outcome FROM pgtopic.replay_dead_letters($1::bigint[], $2::boolean) r
