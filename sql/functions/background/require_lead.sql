-- ----------------------------------------------------------------------
-- require_lead: refuse a step of background work whose worker does not lead.
--
-- Every step is a transaction that calls this first. The lock keeps others from
-- taking the lead before the step has ended.
--
-- Raises: 55000 another worker leads, or this one in a later term.
-- Locks:  the leader's row FOR SHARE.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.require_lead(worker uuid, term bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM FROM pgtopic.leader l WHERE l.worker = require_lead.worker AND l.term = require_lead.term FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % does not lead in term %', require_lead.worker, require_lead.term
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
