-- Who may call which function. Only the owner may, except for what publishers need. The operator
-- gives the right to use the schema. Without that right nothing here can be reached.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgtopic FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.publish(text, text, json, json, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.publish(text, text, jsonb, json, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.publish(text, text, text, json, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.publish(text, json, text, json, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.publish(text, jsonb, text, json, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.stripe(bigint, text) TO PUBLIC;
