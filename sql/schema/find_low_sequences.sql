-- ----------------------------------------------------------------------
-- schema/find_low_sequences: sequences that would give ids again that are in
-- use. That happens if rows were copied without their sequences.
--
-- The tables are read by a snapshot, and the sequences after that. So a
-- publisher at work is no reason.
--
-- Parameters: none.
-- Returns:    the sequence, as SQL writes it, and the greatest id in use.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT (SELECT format('%I.%I', n.nspname, c.relname)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = x.sequence),
       x.greatest
  FROM (SELECT 'pgtopic.message_ids'::regclass AS sequence,
               greatest((SELECT max(m.id) FROM pgtopic.messages m), (SELECT max(d.message_id) FROM pgtopic.dead_letters d)) AS greatest
        UNION ALL
        SELECT pg_get_serial_sequence('pgtopic.topics', 'id')::regclass, (SELECT max(t.id) FROM pgtopic.topics t)
        UNION ALL
        SELECT pg_get_serial_sequence('pgtopic.webhooks', 'id')::regclass, (SELECT max(w.id) FROM pgtopic.webhooks w)
        UNION ALL
        SELECT pg_get_serial_sequence('pgtopic.dead_letters', 'id')::regclass, (SELECT max(d.id) FROM pgtopic.dead_letters d)) x
 WHERE x.greatest > coalesce(pg_sequence_last_value(x.sequence), 0)
