-- Give up what is too old for its webhook, in some lanes that no worker holds.
-- Parameters: the webhook and the lane to begin after, how many lanes at most, who does it.
-- Returns, locks: see expire_deliveries in sql/functions/background.
SELECT last_webhook, last_lane, expired, more FROM pgtopic.expire_deliveries($1, $2, $3, $4)
