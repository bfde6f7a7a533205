-- ----------------------------------------------------------------------
-- read_lanes: the next messages of lanes that the worker holds.
--
-- Parameters:
--   worker             the holder
--   webhook_ids, lanes, tokens   the lanes, and the token of each
--   positions          where to begin: messages above this are read. If a
--                      replay has raised the lane's generation since, reading
--                      begins at the position in the lane's row
--   generations        the newest generation that the worker knows
--   messages_per_lane  how many messages to read of each lane at most
--   payload_budget     how many bytes of payload and headers to read in all;
--                      the first message is always read
--
-- Returns: as read_claimed; position is where reading began. Lanes that the
--          worker does not hold any more are absent.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.read_lanes(
    worker            uuid,
    webhook_ids       bigint[],
    lanes             bigint[],
    tokens            bigint[],
    positions         bigint[],
    generations       integer[],
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id bigint, lane bigint, "position" bigint, generation integer, message_id bigint, partition_key text, type text,
    payload json, headers json, created_at timestamptz, replayed_at timestamptz, state text,
    age double precision
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT l.webhook_id, l.lane, l.position, l.generation, d.message_id, m.partition_key, m.type,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN m.payload END,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN m.headers END,
           m.created_at, d.replayed_at,
           CASE WHEN d.replayed_at IS NULL AND d.message_id < l.latest THEN 'superseded'
                WHEN m.id IS NULL THEN 'missing'
                WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN 'loaded'
                ELSE 'deferred' END,
           date_part('epoch', clock_timestamp()) - date_part('epoch', greatest(m.created_at, m.published_at))
      FROM (
        SELECT h.webhook_id, h.lane, h.generation,
               CASE WHEN h.generation = held.generation THEN held.position ELSE h.position END AS position,
               latest.id AS latest
          FROM unnest(read_lanes.webhook_ids, read_lanes.lanes, read_lanes.tokens, read_lanes.positions, read_lanes.generations)
               AS held (webhook_id, lane, token, position, generation)
         CROSS JOIN LATERAL (
            SELECT h.webhook_id, h.lane, h.generation, h.position
              FROM pgtopic.lanes h
             WHERE h.webhook_id = held.webhook_id AND h.lane = held.lane
               AND h.claimed_by = read_lanes.worker AND h.token = held.token
             LIMIT 1) h
          LEFT JOIN LATERAL pgtopic.latest_message(h.webhook_id, h.lane, h.position) latest ON true
        OFFSET 0
      ) l
      LEFT JOIN LATERAL (
        SELECT o.message_id, o.replayed_at
          FROM pgtopic.deliveries o
         WHERE o.webhook_id = l.webhook_id AND o.lane = l.lane AND o.message_id > l.position
         ORDER BY o.message_id
         LIMIT messages_per_lane
      ) d ON true
      LEFT JOIN pgtopic.messages m ON m.id >= d.message_id AND m.id <= d.message_id
       AND (d.replayed_at IS NULL AND d.message_id < l.latest) IS NOT TRUE
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;
