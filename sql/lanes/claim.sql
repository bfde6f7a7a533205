-- Claim the earliest due lanes of each webhook, with their next messages.
-- Parameters: worker, token, webhook ids, slots, due after, whether lanes of workers that are gone
-- count, messages a lane, payload budget (bytes).
-- Returns: see claim_lanes. Locks: the worker's row, the lanes (SKIP LOCKED).
SELECT webhook_id, lane, due_at, position, generation, head_message_id, failures, batch_last, batch_count,
       split_until, message_id, partition_key, type, payload::text, headers::text, created_at, replayed_at, state, age
  FROM pgtopic.claim_lanes($1, $2, $3, $4, $5, $6, $7, $8)
