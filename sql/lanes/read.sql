-- Read the next messages of held lanes.
-- Parameters: worker, webhook ids, lanes, tokens, positions, generations, messages a lane, payload
-- budget (bytes).
-- Returns: see read_lanes. Locks: none.
SELECT webhook_id, lane, position, generation, message_id, partition_key, type, payload::text, headers::text, created_at,
       replayed_at, state, age
  FROM pgtopic.read_lanes($1, $2, $3, $4, $5, $6, $7, $8)
