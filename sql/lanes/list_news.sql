-- A tail read: what was published since the last one.
-- Parameters: the highest id that was seen, or null; ids below it that were passed over; how many
-- messages above it at most.
-- Returns: see list_news in sql/functions/engine. Locks: none.
SELECT message_id, lane, step FROM pgtopic.list_news($1, $2, $3)
