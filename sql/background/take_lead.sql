-- Lead the background work, if nobody does.
-- Parameters: the worker. Returns: the term, if it leads. Locks: see take_lead in
-- sql/functions/background.
SELECT pgtopic.take_lead($1)
