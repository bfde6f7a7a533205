-- Claim the lanes of messages that notifications have named, with their next messages.
-- Parameters: worker, token, message ids, webhooks without room, patterns of topics or null,
-- how many lanes at most, messages a lane, payload budget (bytes).
-- Returns: see claim_messages. Locks: the worker's row, the lanes (SKIP LOCKED).
SELECT webhook_id, lane, due_at, token, position, generation, head_message_id, failures, batch_last, batch_count,
       split_until, message_id, partition_key, type, payload::text, headers::text, created_at, replayed_at, state, age
  FROM pgtopic.claim_messages($1, $2, $3, $4, $5, $6, $7, $8)
