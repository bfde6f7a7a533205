-- Who may call what. Nobody but the owner may, apart from what publishers need. The right to use
-- the schema is given by the operator: without it none of this can be reached.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgtopic FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.publish(text, text, json, json, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.stripe(bigint, text) TO PUBLIC;
