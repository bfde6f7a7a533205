-- ----------------------------------------------------------------------
-- filter_limit: how large a payload may be for which a filter is evaluated.
--
-- Filters run inside the publisher's transaction, and parts of a jsonpath
-- cannot be interrupted. So their cost is bounded: by the shapes that are
-- refused here, and by the size of the payload.
--
-- The filter's text is read token by token. Each path gets two numbers: by
-- which power of the payload's size its values may grow that begin at the
-- filter's own item (@), and those that begin at the payload ($). A path may
-- yield many values if it has a wildcard ([*], .*, .**, a range), and in lax
-- mode always, since arrays are unwrapped. A comparison takes each value of one
-- side with each of the other: the numbers add up. A filter expression
-- evaluates its $ paths for each value that it looks at.
--
-- Returns: bytes. If the cost grows with the payload's size: linear_budget
--          divided by the number of steps. If it grows with the square, or
--          something is calculated: square_budget divided by the square root of
--          the number of steps. A step is the beginning of a path, a wildcard,
--          a method, or an arithmetic operator.
-- Raises:  54000 (column filter): the cost may grow faster, or one comparison
--          has wildcards on both sides, or .** is nested, or a pattern refers
--          back or looks around. The message is the rule that is broken.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.filter_limit(filter jsonpath) RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    linear_budget CONSTANT integer := 2097152;
    square_budget CONSTANT integer := 8192;
    lax      boolean := filter::text !~ '^strict ';
    tokens   text[] := ARRAY(
        SELECT t[1]
          FROM regexp_matches(filter::text,
                 '"(?:[^"\\]|\\.)*"|\.\*\*(?:\{[^}]*\})?|\.\*|\[\*\]|\?\(|&&|\|\||[=!<>]=|[a-z_]+|-?[0-9][0-9.e+-]*|\S', 'g') t);
    token    text;
    before   text := '';
    problem  text;
    steps    integer := 0;
    costly   boolean := false;      -- something is calculated
    -- The path that is being read: its two powers; whether it begins at $, has a wildcard, has .**
    p_item   integer := 0;
    p_root   integer := 0;
    p_at     boolean := false;
    p_many   boolean := false;
    p_deep   boolean := false;
    -- What was read of the operand before this path, and the operand left of the comparison.
    o_item   integer := 0;
    o_root   integer := 0;
    o_many   boolean := false;
    l_item   integer := 0;
    l_root   integer := 0;
    l_many   boolean := false;
    -- The worst of the comparisons of this group of brackets.
    g_item   integer := 0;
    g_root   integer := 0;
    g_many   boolean := false;
    g_deep   boolean := false;      -- .** in this group
    in_deep  boolean := false;      -- this group belongs to a path with .**
    -- The groups around this one, and the bracket that opened each.
    groups   jsonb[] := '{}';
    opened   text[] := '{}';
    outer_   jsonb;
BEGIN
    -- Brackets around all of it, so that the last comparison is ended too.
    FOREACH token IN ARRAY ARRAY['('] || tokens || ARRAY[')'] LOOP
        CASE
        WHEN token IN ('$', '@') THEN
            o_item := greatest(o_item, p_item);
            o_root := greatest(o_root, p_root);
            o_many := o_many OR p_many;
            steps := steps + 1;
            p_at := token = '@';
            p_item := (lax AND p_at)::integer;
            p_root := (lax AND NOT p_at)::integer;
            p_many := false;
            p_deep := false;
        WHEN token IN ('.*', '[*]') OR token ~ '^\.\*\*' OR token IN ('to', ',') AND opened[cardinality(opened)] = '[' THEN
            IF token ~ '^\.\*\*' THEN
                IF p_deep OR in_deep THEN
                    problem := 'must not have .** within another .**: the values would be too many';
                END IF;
                p_deep := true;
                g_deep := true;
            END IF;
            steps := steps + 1;
            p_many := true;
            IF p_at THEN
                p_item := greatest(p_item, 1);
            ELSE
                p_root := greatest(p_root, 1);
            END IF;
        WHEN token IN ('(', '?(', '[') THEN
            groups := groups || jsonb_build_object(
                'p', jsonb_build_array(p_item, p_root, p_at, p_many, p_deep), 'o', jsonb_build_array(o_item, o_root, o_many),
                'l', jsonb_build_array(l_item, l_root, l_many), 'g', jsonb_build_array(g_item, g_root, g_many, g_deep, in_deep));
            opened := opened || CASE WHEN token = '(' AND before ~ '^[a-z_]+$' AND before <> 'exists' THEN 'call' ELSE token END;
            in_deep := in_deep OR token <> '(' AND p_deep;
            p_item := 0; p_root := 0; p_at := false; p_many := false; p_deep := false;
            o_item := 0; o_root := 0; o_many := false;
            l_item := 0; l_root := 0; l_many := false;
            g_item := 0; g_root := 0; g_many := false; g_deep := false;
        WHEN token IN ('==', '!=', '<', '<=', '>', '>=', 'like_regex', 'starts', '&&', '||', ')', ']') THEN
            o_item := greatest(o_item, p_item);
            o_root := greatest(o_root, p_root);
            o_many := o_many OR p_many;
            p_item := 0; p_root := 0; p_many := false; p_deep := false;
            IF token IN ('&&', '||', ')', ']') THEN
                IF l_many AND o_many THEN
                    problem := 'must not compare two paths that each have [*], .* or .**: each value would be compared with each';
                END IF;
                g_item := greatest(g_item, l_item + o_item);
                g_root := greatest(g_root, l_root + o_root);
                g_many := g_many OR l_many OR o_many;
                l_item := 0; l_root := 0; l_many := false;
            ELSE
                l_item := o_item; l_root := o_root; l_many := o_many;
            END IF;
            o_item := 0; o_root := 0; o_many := false;
            IF token IN (')', ']') AND cardinality(groups) > 0 THEN
                outer_ := groups[cardinality(groups)];
                p_item := (outer_ #>> '{p,0}')::integer;
                p_root := (outer_ #>> '{p,1}')::integer;
                p_at := (outer_ #>> '{p,2}')::boolean;
                p_many := (outer_ #>> '{p,3}')::boolean;
                p_deep := (outer_ #>> '{p,4}')::boolean;
                IF opened[cardinality(opened)] = '(' THEN
                    -- What is in brackets goes on as a path of its own.
                    o_item := greatest((outer_ #>> '{o,0}')::integer, p_item);
                    o_root := greatest((outer_ #>> '{o,1}')::integer, p_root);
                    o_many := (outer_ #>> '{o,2}')::boolean OR p_many;
                    p_item := g_item;
                    p_root := g_root;
                    p_at := g_item > g_root;
                    p_many := g_many;
                    p_deep := g_deep;
                ELSE
                    o_item := (outer_ #>> '{o,0}')::integer;
                    o_root := (outer_ #>> '{o,1}')::integer;
                    o_many := (outer_ #>> '{o,2}')::boolean;
                    IF opened[cardinality(opened)] = '?(' AND p_at THEN
                        p_item := greatest(p_item, g_item);
                        p_root := p_root + g_root;
                    ELSIF opened[cardinality(opened)] = '?(' THEN
                        p_root := greatest(p_root, g_item) + g_root;
                    ELSE
                        -- The subscript of an array, or what a method is given.
                        p_item := p_item + g_item;
                        p_root := p_root + g_root;
                        p_many := p_many OR g_many;
                    END IF;
                END IF;
                l_item := (outer_ #>> '{l,0}')::integer;
                l_root := (outer_ #>> '{l,1}')::integer;
                l_many := (outer_ #>> '{l,2}')::boolean;
                g_deep := g_deep OR (outer_ #>> '{g,3}')::boolean;
                IF cardinality(groups) > 1 THEN
                    g_item := (outer_ #>> '{g,0}')::integer;
                    g_root := (outer_ #>> '{g,1}')::integer;
                    g_many := (outer_ #>> '{g,2}')::boolean;
                END IF;
                in_deep := (outer_ #>> '{g,4}')::boolean;
                groups := groups[1:cardinality(groups) - 1];
                opened := opened[1:cardinality(opened) - 1];
            END IF;
        WHEN token IN ('+', '-', '*', '/', '%') THEN
            steps := steps + 1;
            costly := costly OR opened[cardinality(opened)] <> '[';
        WHEN token ~ '^[a-z_]+$' AND before = '.' THEN
            steps := steps + 1;
            costly := costly OR token NOT IN ('type', 'size');
        WHEN token LIKE '"%' AND before = 'like_regex' THEN
            IF (token::json #>> '{}') ~ '(^|[^\\])(\\\\)*(\\[1-9]|\(\?<?[=!])' THEN
                problem := 'must not have a pattern that refers back (\1) or looks around ((?=): such patterns may take for ever';
            END IF;
        ELSE
            NULL;
        END CASE;
        before := token;
    END LOOP;
    IF problem IS NULL AND greatest(g_item, g_root) > 2 THEN
        problem := 'is too costly: the time that it takes may grow with more than the square of the payload''s size';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'filter';
    END IF;
    RETURN CASE WHEN costly OR greatest(g_item, g_root) > 1 THEN square_budget / sqrt(greatest(steps, 1))
                ELSE linear_budget / greatest(steps, 1) END;
END
$$;
