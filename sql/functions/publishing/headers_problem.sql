-- ----------------------------------------------------------------------
-- headers_problem: the first rule that the headers of a message or a webhook
-- break. The rules are those of the API.
--
-- A name is a token of at most 256 bytes (RFC 9110, section 5.1), not reserved,
-- and stands only once, whatever its case. A value is a text of at most 4,096
-- bytes: visible ASCII, spaces and tabs. There are at most 64 headers, with
-- 8,192 bytes of JSON text in all.
--
-- Parameters: headers  as they were given
-- Returns: the rule, to be read after the word "headers"; null if none is
--          broken, or if there are no headers. It never shows a value, since
--          values may be credentials.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.headers_problem(headers json) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    name  text;
    value json;
    plain text;
    lower_name text;
    shown text;
    seen  text[] := '{}';
BEGIN
    IF headers IS NULL THEN
        RETURN NULL;
    ELSIF json_typeof(headers) <> 'object' THEN
        RETURN format('must be a JSON object, not %s', json_typeof(headers));
    ELSIF octet_length(headers::text) > 8192 THEN
        RETURN format('must have at most 8192 bytes of JSON text, not %s', octet_length(headers::text));
    ELSIF (SELECT count(*) FROM json_object_keys(headers)) > 64 THEN
        RETURN format('must hold at most 64 headers, not %s', (SELECT count(*) FROM json_object_keys(headers)));
    END IF;
    FOR name, value IN SELECT h.key, h.value FROM json_each(headers) h LOOP
        shown := left(to_json(name)::text, 300);
        lower_name := lower(name COLLATE "C");
        IF octet_length(name) > 256 OR name !~ '^[-!#$%&''*+.^_`|~0-9A-Za-z]+$' THEN
            RETURN format('must have names of 1 to 256 letters, digits and -!#$%%&''*+.^_`|~, not %s', shown);
        ELSIF lower_name LIKE 'webhook-%' OR lower_name LIKE 'proxy-%'
            OR lower_name IN ('connection', 'content-length', 'content-type', 'expect', 'host', 'keep-alive', 'te', 'trailer',
                              'transfer-encoding', 'upgrade', 'user-agent')
        THEN
            RETURN format('must not hold the reserved name %s', shown);
        ELSIF lower_name = ANY (seen) THEN
            RETURN format('must hold the name %s only once, in whatever case', shown);
        ELSIF json_typeof(value) <> 'string' THEN
            RETURN format('must have values that are texts: that of %s is not', shown);
        END IF;
        seen := seen || lower_name;
        plain := value #>> '{}';
        IF octet_length(plain) > 4096 OR octet_length(plain) <> char_length(plain)
            OR plain ~ '[\x01-\x08\x0a-\x1f\x7f]'
        THEN
            RETURN format('must have values of visible ASCII, spaces and tabs, at most 4096 bytes: that of %s is not', shown);
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION
    -- A JSON text may name characters that no text can hold: U+0000, or a half of a surrogate pair.
    WHEN untranslatable_character OR invalid_text_representation THEN
        RETURN 'must have names and values of visible ASCII';
END
$$;
