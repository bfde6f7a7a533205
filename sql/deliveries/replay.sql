-- Replay messages to a webhook: call pgtopic.owe_messages, which says what it does.
-- Parameters: $1 webhook id, $2 message ids, $3 whether to wait for stripes.
SELECT o.message_id, o.outcome FROM pgtopic.owe_messages($1::bigint, $2::bigint[], clock_timestamp(), $3::boolean) o
