-- ----------------------------------------------------------------------
-- subscribe: create topics, each with one webhook of the same URL.
--
-- Parameters: $1 prefix of the topics' names, after which a number from 0
--             follows, $2 how many, $3 URL; {topic} in it stands for the
--             number.
-- Returns:    the topics' ids, in the order of the numbers.
-- Locks:      the new rows.
-- ----------------------------------------------------------------------
WITH topic AS (
    INSERT INTO topics (name)
    SELECT $1::text || n.number
      FROM generate_series(0, $2::bigint - 1) AS n (number)
     ORDER BY n.number
    RETURNING id, name
), webhook AS (
    INSERT INTO webhooks (topic_id, url, secrets)
    SELECT t.id, replace($3::text, '{topic}', substr(t.name, length($1::text) + 1)), ARRAY['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']
      FROM topic t
)
SELECT t.id FROM topic t ORDER BY t.id
