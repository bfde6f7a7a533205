-- Give up some messages of a webhook that overflows.
-- Parameters: the webhook, the messages, their lanes, who does it. Returns, locks: see drop_overflow
-- in sql/functions/background.
SELECT dropped, left_lanes FROM pgtopic.drop_overflow($1, $2, $3, $4)
