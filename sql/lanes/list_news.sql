-- What was published since the last look.
-- Parameters: the highest id that was seen or null, ids below it that were not, how many above it
-- at most.
-- Returns: see list_news in the migrations. Locks: none.
SELECT message_id, lane FROM pgtopic.list_news($1, $2, $3)
