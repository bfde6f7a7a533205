-- Count what some webhooks with max_owed are owed, and note which of them overflow.
-- Parameters: the webhook to begin after, webhooks to leave out, how many seconds it may take, who
-- does it. Returns, locks: see check_backlogs in sql/functions/background.
SELECT webhook_id, excess, overflows, changed, seconds
  FROM pgtopic.check_backlogs($1, $2, make_interval(secs => $3::float8), $4)
