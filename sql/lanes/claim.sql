-- Take the earliest due lanes of each webhook, with their next messages.
-- Parameters: worker, token, webhook ids, slots, due after, messages a lane, payload budget (bytes), tokens of lanes that
-- were handed over and arrived (null: do not take such that did not).
-- Returns: see claim_lanes in the migrations. Locks: the worker's row, the lanes (SKIP LOCKED).
SELECT webhook_id, lane, due_at, token, position, rewinds, failures, message_id, partition_key, payload::text,
       headers::text, created_at, state
  FROM pgtopic.claim_lanes($1, $2, $3, $4, $5, $6, $7, $8)
