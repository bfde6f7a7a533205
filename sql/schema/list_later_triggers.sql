-- ----------------------------------------------------------------------
-- schema/list_later_triggers: triggers that may change a message after our own
-- trigger has fanned it out.
--
-- Parameters: none.
-- Returns:    the names of the BEFORE INSERT FOR EACH ROW triggers on messages
--             that sort after ours.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.tgname::text
  FROM pg_trigger t
 WHERE t.tgrelid = 'pgtopic.messages'::regclass AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
   AND t.tgtype & 7 = 7    -- ROW, BEFORE, INSERT
   AND t.tgname > 'zz_messages_publish'
 ORDER BY t.tgname
