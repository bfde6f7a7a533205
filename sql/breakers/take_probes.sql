-- Take the turn to probe webhooks, with a lane of each.
-- Parameters: worker, token, how many webhooks, patterns of topics or null, the default timeout and the
-- spare time (seconds),
-- messages a lane, payload budget (bytes).
-- Returns: see take_probes. Locks: the worker's row, the breakers and the lanes (SKIP LOCKED).
SELECT webhook_id, lane, due_at, position, generation, head_message_id, failures, batch_last, batch_count,
       split_until, message_id, partition_key, type, payload::text, headers::text, created_at, replayed_at, state, age,
       epoch, probes, open_seconds, only_lane, turn_seconds
  FROM pgtopic.take_probes($1, $2, $3, $4, $5, $6, $7, $8)
