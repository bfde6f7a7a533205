-- ----------------------------------------------------------------------
-- list_news: a tail read. It returns what was published since the last one, to
-- any topic.
--
-- Ids are given before they are committed. So an id that was passed over may
-- show up later, and the caller asks again for such ids.
--
-- Parameters:
--   newest    the highest id that was seen; null: only the newest message is
--             returned
--   missing   ids below it that were passed over
--   at_most   the most messages above newest to return
--
-- Returns: ids and lanes: first those above newest in rising order, then those
--          of missing that are there now. step: how far two ids that are given
--          out one after the other lie apart; the same in every row.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_news(newest bigint, missing bigint[], at_most bigint)
RETURNS TABLE (message_id bigint, lane bigint, step bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    apart bigint := (SELECT s.seqincrement FROM pg_sequence s WHERE s.seqrelid = 'pgtopic.message_ids'::regclass);
BEGIN
    RETURN QUERY
    SELECT m.id, m.lane, apart
      FROM pgtopic.messages m
     WHERE m.id > coalesce(list_news.newest, (SELECT max(last.id) - 1 FROM pgtopic.messages last))
     ORDER BY m.id
     LIMIT list_news.at_most;
    RETURN QUERY
    SELECT m.id, m.lane, apart
      FROM unnest(list_news.missing) AS passed_over (id)
     CROSS JOIN LATERAL (SELECT s.id, s.lane FROM pgtopic.messages s WHERE s.id = passed_over.id LIMIT 1) m;
END
$$;
