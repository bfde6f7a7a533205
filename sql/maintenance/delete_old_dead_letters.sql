-- Delete dead letters that are older than some days, out of the oldest ones. Ids rise roughly with
-- created_at, so nothing but the oldest is looked at.
-- Parameters: days, how many to look at. Returns: nothing; the deleted rows are counted.
-- Locks: the rows, SKIP LOCKED.
DELETE FROM pgtopic.dead_letters
 WHERE id IN (
    SELECT l.id
      FROM (SELECT o.id FROM pgtopic.dead_letters o ORDER BY o.id LIMIT $2) oldest
      JOIN pgtopic.dead_letters l ON l.id = oldest.id
     WHERE l.created_at < now() - $1 * interval '1 day'
       FOR UPDATE OF l SKIP LOCKED)
