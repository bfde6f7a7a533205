-- ----------------------------------------------------------------------
-- activity/delete_old: delete activity past its retention.
--
-- Parameters: $1 days, $2 how many rows at most.
-- Returns:    nothing; the rows are counted.
-- Locks:      the rows.
-- ----------------------------------------------------------------------
DELETE FROM pgtopic.activity a
 WHERE a.ctid = ANY (ARRAY(SELECT x.ctid
                             FROM pgtopic.activity x
                            WHERE x.seconds IN (10, 60, 3600) AND x.at < now() - make_interval(secs => $1::double precision * 86400)
                            LIMIT $2::bigint))
