-- ----------------------------------------------------------------------
-- type_matches: whether a webhook's types name a message's type. No search path
-- is set, as in messages_publish. starts_with is no pattern: no character of a
-- type has a meaning.
--
-- Returns: true if one of the types is the message's, or is a start of it
--          followed by *. False for a message without a type.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.type_matches(types pg_catalog.text[], type pg_catalog.text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    RETURN EXISTS (SELECT
                     FROM pg_catalog.unnest(types) AS t (name)
                    WHERE t.name OPERATOR(pg_catalog.=) type_matches.type
                       OR pg_catalog.right(t.name, 1) OPERATOR(pg_catalog.=) '*'
                          AND pg_catalog.starts_with(type_matches.type, pg_catalog.left(t.name, -1)));
END
$$;
