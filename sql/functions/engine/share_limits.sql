-- ----------------------------------------------------------------------
-- share_limits: take a worker's share of the limits of webhooks, max_in_flight
-- and rate_limit_per_second. All workers together never have more than the limit.
--
-- A worker calls this while it has something to send, about once a second. It
-- divides a limit equally among the workers that want to send. A worker with a
-- share that has nothing to send keeps one slot, and a small part of the rate.
--
-- A worker learns of its new share from the answer. Until then it may use what
-- it had. So what counts for the others is the greater one of what was granted
-- and what the worker has said it holds. Nobody takes more than what is left.
--
-- Parameters:
--   worker      the worker
--   webhooks    the webhooks, each one once
--   wants       for each: whether the worker has something to send
--   slots_held  for each: how many slots the worker uses, or may use
--   rate_held   for each: the rate that the worker may send at
--   done        webhooks whose shares the worker gives back
--
-- Returns: for each webhook with a limit: its share. slots is null if
--          max_in_flight is not set; rate is null if rate_limit_per_second is
--          not set. A webhook whose row is locked is left out: its share stays.
-- Raises:  as require_registered.
-- Locks:   as require_registered; the rows of the webhooks FOR NO KEY UPDATE SKIP
--          LOCKED, in the order of their ids.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.share_limits(
    worker     uuid,
    webhooks   bigint[],
    wants      boolean[],
    slots_held integer[],
    rate_held  double precision[],
    done       bigint[]
) RETURNS TABLE (webhook_id bigint, slots integer, rate double precision)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    mine     bigint[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);
    DELETE FROM pgtopic.shares s
     WHERE s.worker_id = share_limits.worker AND s.webhook_id = ANY (share_limits.done);
    SELECT coalesce(array_agg(w.id), '{}') INTO mine
      FROM (SELECT x.id
              FROM pgtopic.webhooks x
             WHERE x.id = ANY (share_limits.webhooks)
               AND (x.max_in_flight IS NOT NULL OR x.rate_limit_per_second IS NOT NULL)
             ORDER BY x.id
               FOR NO KEY UPDATE SKIP LOCKED) w;

    -- A new statement: it sees the shares that were taken before these rows were locked.
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.webhook_id, a.wants, a.slots_held, a.rate_held
          FROM unnest(share_limits.webhooks, share_limits.wants, share_limits.slots_held, share_limits.rate_held)
            AS a (webhook_id, wants, slots_held, rate_held)
         WHERE a.webhook_id = ANY (mine)
    ), holders AS (
        SELECT a.webhook_id, true AS asks, a.wants, a.slots_held AS slots, a.rate_held AS rate, share_limits.worker AS worker_id
          FROM asked a
        UNION ALL
        SELECT s.webhook_id, false, s.wants, greatest(s.slots, s.slots_held), greatest(s.rate, s.rate_held), s.worker_id
          FROM pgtopic.shares s
          JOIN pgtopic.workers o ON o.id = s.worker_id AND NOT o.gone
         WHERE s.webhook_id = ANY (mine) AND s.worker_id <> share_limits.worker
    ), counted AS (
        SELECT h.*,
               count(*) OVER webhook AS workers,
               count(*) FILTER (WHERE h.wants) OVER webhook AS wanting,
               coalesce(sum(h.slots) FILTER (WHERE NOT h.asks) OVER webhook, 0) AS slots_of_others,
               coalesce(sum(h.rate) FILTER (WHERE NOT h.asks) OVER webhook, 0) AS rate_of_others,
               row_number() OVER (PARTITION BY h.webhook_id ORDER BY h.wants DESC, h.slots DESC, h.worker_id) AS place
          FROM holders h
        WINDOW webhook AS (PARTITION BY h.webhook_id)
    ), divided AS (
        -- resting: how many have a share and want nothing, while others want something.
        SELECT c.*,
               CASE WHEN c.wanting > 0 THEN c.workers - c.wanting ELSE 0 END AS resting,
               CASE WHEN c.wanting > 0 THEN c.wanting ELSE c.workers END AS sharing,
               c.wanting > 0 AND NOT c.wants AS rests
          FROM counted c
         WHERE c.asks
    ), fair AS (
        SELECT d.webhook_id, d.wants, d.slots AS slots_held, d.rate AS rate_held,
               w.max_in_flight - d.slots_of_others AS slots_left,
               w.rate_limit_per_second - d.rate_of_others AS rate_left,
               CASE WHEN w.max_in_flight IS NULL THEN NULL
                    WHEN d.workers >= w.max_in_flight THEN (d.place <= w.max_in_flight)::integer
                    WHEN d.rests THEN 1
                    ELSE (w.max_in_flight - d.resting) / d.sharing
                         + (d.place <= (w.max_in_flight - d.resting) % d.sharing)::integer
               END AS slots,
               CASE WHEN d.rests THEN w.rate_limit_per_second / (20 * d.workers)
                    ELSE w.rate_limit_per_second * (1 - d.resting / (20.0 * d.workers)) / d.sharing
               END AS rate
          FROM divided d
          JOIN pgtopic.webhooks w ON w.id = d.webhook_id
    )
    INSERT INTO pgtopic.shares AS s (webhook_id, worker_id, wants, slots, slots_held, rate, rate_held)
    SELECT f.webhook_id, share_limits.worker, f.wants,
           CASE WHEN f.slots IS NOT NULL THEN greatest(least(f.slots, f.slots_left), 0) END, f.slots_held,
           CASE WHEN f.rate IS NOT NULL THEN greatest(least(f.rate, f.rate_left), 0) END, f.rate_held
      FROM fair f
    ON CONFLICT ON CONSTRAINT shares_pkey DO UPDATE
       SET wants = excluded.wants, slots = excluded.slots, slots_held = excluded.slots_held,
           rate = excluded.rate, rate_held = excluded.rate_held
    RETURNING s.webhook_id, s.slots, s.rate;
END
$$;
