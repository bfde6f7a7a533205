-- ----------------------------------------------------------------------
-- lane_stripe: the stripe that a publisher to a lane locks.
--
-- Returns: the topic of the webhook, and the stripe: null if the topic is
--          unordered. No row if there is no such webhook (any more).
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.lane_stripe(webhook_id bigint, lane bigint) RETURNS TABLE (topic_id bigint, stripe integer)
LANGUAGE sql STABLE
AS $$
SELECT t.id, t.stripes | (lane_stripe.lane & 255)::integer
  FROM (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = lane_stripe.webhook_id LIMIT 1) w
 CROSS JOIN LATERAL (SELECT t.id, t.stripes FROM pgtopic.topics t WHERE t.id = w.topic_id LIMIT 1) t
$$;
