-- ----------------------------------------------------------------------
-- read_claimed: the next messages of lanes that were just claimed.
--
-- The function has no SET. So PostgreSQL puts its text into the statement that
-- calls it.
--
-- Parameters:
--   claimed            rows of lanes, as the claim's update has returned them
--   messages_per_lane  how many messages to read of each lane at most
--   payload_budget     how many bytes of payload and headers to read in all
--
-- Returns: for each lane its next messages, in any order, but at least one row
--          (message_id is null if nothing was read). replayed_at is
--          that of the delivery: a replay put it there. state is 'loaded';
--          'deferred' if the budget is used up (then payload and headers are
--          null); 'missing' if the message was deleted; 'superseded' if the
--          webhook keeps the latest message, and the lane owes a newer one,
--          replays aside (then the message is not read). age is the message's age
--          in seconds, counted from the later of created_at and published_at.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.read_claimed(claimed pgtopic.lanes[], messages_per_lane integer, payload_budget bigint)
RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, "position" bigint, generation integer, head_message_id bigint,
    failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint,
    partition_key text, type text, payload json, headers json, created_at timestamptz, replayed_at timestamptz, state text,
    age double precision
)
LANGUAGE sql STABLE
AS $$
SELECT c.webhook_id, c.lane, c.due_at, c.position, c.generation, c.head_message_id, c.failures,
       c.batch_last, c.batch_count, c.split_until, d.message_id, m.partition_key, m.type,
       CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.payload END,
       CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.headers END,
       m.created_at, d.replayed_at,
       CASE WHEN d.replayed_at IS NULL AND d.message_id < c.latest THEN 'superseded'
            WHEN m.id IS NULL THEN 'missing'
            WHEN sum(m.size_bytes) OVER read <= payload_budget THEN 'loaded'
            ELSE 'deferred' END,
       date_part('epoch', clock_timestamp()) - date_part('epoch', greatest(m.created_at, m.published_at))
  FROM (SELECT c.*, latest.id AS latest
          FROM unnest(claimed) c
          LEFT JOIN LATERAL pgtopic.latest_message(c.webhook_id, c.lane, c.position) latest ON true
        OFFSET 0) c
  LEFT JOIN LATERAL (
    SELECT o.message_id, o.replayed_at
      FROM pgtopic.deliveries o
     WHERE o.webhook_id = c.webhook_id AND o.lane = c.lane AND o.message_id > c.position
     ORDER BY o.message_id
     LIMIT messages_per_lane
  ) d ON true
  LEFT JOIN pgtopic.messages m ON m.id >= d.message_id AND m.id <= d.message_id
   AND (d.replayed_at IS NULL AND d.message_id < c.latest) IS NOT TRUE
WINDOW read AS (ROWS UNBOUNDED PRECEDING)
$$;
