-- Check whether a text is a filter.
-- Parameters: the filter. Returns: see check_filter in sql/functions/publishing. Raises: what it
-- raises, and what the cast to jsonpath raises if the text is none. Locks: none.
SELECT pgtopic.check_filter($1::text::jsonpath)
