-- ----------------------------------------------------------------------
-- schema/list_later_triggers: triggers that run after messages_publish, and may
-- change a message that was fanned out already.
--
-- Parameters: none.
-- Returns:    the names of the enabled BEFORE INSERT FOR EACH ROW triggers on
--             messages that sort after zz_messages_publish.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.tgname::text
  FROM pg_trigger t
 WHERE t.tgrelid = 'pgtopic.messages'::regclass AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
   AND t.tgtype & 7 = 7    -- ROW, BEFORE, INSERT
   AND t.tgname > 'zz_messages_publish'
 ORDER BY t.tgname
