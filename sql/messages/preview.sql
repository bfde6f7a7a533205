-- ----------------------------------------------------------------------
-- messages/preview: which webhooks a message would be owed to, if it was
-- published now. It asks the functions that the trigger asks.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 type or null,
--             $4 payload, $5 the most webhooks to look at.
-- Returns:    one row for each webhook of the topic, by rising id.
--             filter_evaluated: false if the payload is larger than what the
--             filter is evaluated for; then it lets the message through.
-- Raises:     what the type json raises.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id AS webhook_id, w.types IS NULL OR pgtopic.type_matches(w.types, $3::text) AS types_match,
       w.filter IS NULL OR NOT f.evaluated OR pgtopic.filter_matches(w.filter, $4::text::json, w.filter_limit) AS filter_matches,
       w.filter IS NULL OR f.evaluated AS filter_evaluated
  FROM (SELECT w.*
          FROM pgtopic.topics t
          JOIN pgtopic.webhooks w ON w.topic_id = t.id
         WHERE t.id = $1::bigint OR t.name = $2::text
         ORDER BY w.id
         LIMIT $5::bigint) w
 CROSS JOIN LATERAL (
    SELECT octet_length($4::text) <= coalesce(w.filter_limit, pgtopic.filter_limit(w.filter)) AS evaluated) f
 ORDER BY w.id
