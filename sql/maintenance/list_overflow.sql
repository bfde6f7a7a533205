-- The messages that an overflowing webhook gives up first.
-- Parameters: the webhook, how many, lanes to leave out. Returns, locks: see list_overflow in
-- sql/functions/background.
SELECT message_id, lane FROM pgtopic.list_overflow($1, $2, $3)
