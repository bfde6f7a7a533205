-- Note what webhooks are owed: one step.
-- Parameters: where the last step ended, how many lanes to look at, where counting stops, after how
-- many seconds to stop. Returns: how many webhooks, and where it ended. Locks: see sample_backlogs.
SELECT webhooks, ended_at FROM pgtopic.sample_backlogs($1, $2, $3, make_interval(secs => $4::double precision))
