-- Repair lanes that a step of the database's clock has put into the future. Looks at some lanes.
-- Parameters: webhook and due_at after which to look, how many lanes to look at.
-- Returns: how many lanes were repaired, and where the look ended (null at the end). Locks: the
-- lanes that it repairs.
SELECT corrected, webhook_id, due_at FROM pgtopic.repair_due_at($1, $2, $3)
