-- ----------------------------------------------------------------------
-- webhooks/check_filter: what kind of jsonpath a filter is.
--
-- A path that is no predicate gives NULL for every payload, so as a filter it
-- would never match. Whether a path names variables is read from its text
-- without string literals: a trial run may never reach the variable.
--
-- Parameters: $1 the filter.
-- Returns:    'predicate', 'path' or 'variables'.
-- Raises:     what the cast to jsonpath raises if the filter is none.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT CASE
           WHEN regexp_replace(f.filter::text, '"(\\.|[^"\\])*"', '""', 'g') ~ '\$""' THEN 'variables'
           WHEN jsonb_typeof(jsonb_path_query_first('{}', f.filter, '{}', true)) IN ('boolean', 'null') THEN 'predicate'
           ELSE 'path'
       END AS kind
  FROM (SELECT $1::text::jsonpath AS filter) f
