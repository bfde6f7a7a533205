-- Delete dead letters that are older than some days, out of the oldest ones. Ids rise roughly with
-- created_at, so nothing but the oldest is looked at. Rows are deleted by their places: a join might
-- read the whole table.
-- Parameters: days, how many to look at. Returns: nothing; the deleted rows are counted.
-- Locks: the rows.
DELETE FROM pgtopic.dead_letters
 WHERE ctid = ANY (ARRAY(
    SELECT l.at
      FROM (SELECT o.ctid AS at, o.created_at FROM pgtopic.dead_letters o ORDER BY o.id LIMIT $2) l
     WHERE l.created_at < now() - $1 * interval '1 day'))
