-- Claim the earliest due lanes of each webhook, lane by lane, without their messages.
-- Parameters: worker, token, webhook ids, slots, due after, whether lanes of workers that are gone
-- count.
-- Returns: see claim_lanes_singly. Locks: the worker's row, the lanes (SKIP LOCKED).
SELECT webhook_id, lane, due_at, position, generation, head_message_id, failures, batch_last, batch_count,
       split_until, message_id, partition_key, type, payload::text, headers::text, created_at, replayed_at, state, age
  FROM pgtopic.claim_lanes_singly($1, $2, $3, $4, $5, $6)
