-- Bring back what a step of the database's clock has left in the future; looks at some lanes only.
-- Parameters: webhook and due_at after which to look, how many lanes to look at.
-- Returns: how many lanes were corrected, and where the look ended (null at the end). Locks: the
-- lanes it corrects.
SELECT corrected, webhook_id, due_at FROM pgtopic.repair_due_at($1, $2, $3)
