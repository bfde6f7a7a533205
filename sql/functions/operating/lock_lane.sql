-- ----------------------------------------------------------------------
-- lock_lane: the locks that come before any change of what a lane owes: its
-- stripe, then its row.
--
-- Parameters:
--   webhook_id, lane  the lane
--   stripe            its stripe; null if the topic is unordered
--   waits             true: wait for both locks, as long as lock_timeout says.
--                     False: try them. Who locks more than one lane must try.
--
-- Returns: outcome 'locked', 'stripe_taken' (somebody publishes to the
--          partition, or changes what it owes) or 'row_locked' (somebody has
--          locked the lane's row). held is the lane's row; all of it is null if
--          there is none.
-- Raises:  55P03 if the lane's row was not to be had in time.
-- Locks:   advisory (stripe_class(), stripe) to the end of the transaction; the
--          lane's row.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.lock_lane(webhook_id bigint, lane bigint, stripe integer, waits boolean,
                                             OUT outcome text, OUT held pgtopic.lanes)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    outcome := 'stripe_taken';
    IF waits THEN
        BEGIN
            PERFORM pg_advisory_xact_lock(pgtopic.stripe_class(), stripe);
        EXCEPTION WHEN lock_not_available THEN
            RETURN;
        END;
        SELECT l.* INTO held FROM pgtopic.lanes l
         WHERE l.webhook_id = lock_lane.webhook_id AND l.lane = lock_lane.lane FOR UPDATE;
    ELSE
        IF NOT pg_try_advisory_xact_lock(pgtopic.stripe_class(), stripe) THEN
            RETURN;
        END IF;
        SELECT l.* INTO held FROM pgtopic.lanes l
         WHERE l.webhook_id = lock_lane.webhook_id AND l.lane = lock_lane.lane FOR UPDATE SKIP LOCKED;
        IF NOT FOUND AND EXISTS (SELECT FROM pgtopic.lanes l
                                  WHERE l.webhook_id = lock_lane.webhook_id AND l.lane = lock_lane.lane)
        THEN
            outcome := 'row_locked';
            RETURN;
        END IF;
    END IF;
    outcome := 'locked';
END
$$;
