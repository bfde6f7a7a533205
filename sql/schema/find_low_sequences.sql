-- ----------------------------------------------------------------------
-- schema/find_low_sequences: sequences that would give ids again that are in
-- use. That happens if rows were copied without their sequences.
--
-- The tables are read by a snapshot, and the sequences after that. So a
-- publisher at work is no reason.
--
-- Parameters: none.
-- Returns:    the sequence, as SQL writes it, and the value that it must have
--             given: the greatest id in use, rounded up to one of the cell.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT (SELECT format('%I.%I', n.nspname, c.relname)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = x.sequence),
       x.greatest + coalesce(mod(x.cell - mod(x.greatest, 1024) + 1024, 1024), 0) AS value
  FROM (SELECT 'pgtopic.message_ids'::regclass AS sequence,
               greatest((SELECT max(m.id) FROM pgtopic.messages m), (SELECT max(d.message_id) FROM pgtopic.dead_letters d)) AS greatest,
               (SELECT i.cell FROM pgtopic.installation i) AS cell
        UNION ALL
        SELECT pg_get_serial_sequence('pgtopic.topics', 'id')::regclass, (SELECT max(t.id) FROM pgtopic.topics t), NULL
        UNION ALL
        SELECT pg_get_serial_sequence('pgtopic.webhooks', 'id')::regclass, (SELECT max(w.id) FROM pgtopic.webhooks w), NULL
        UNION ALL
        SELECT pg_get_serial_sequence('pgtopic.dead_letters', 'id')::regclass, (SELECT max(d.id) FROM pgtopic.dead_letters d), NULL) x
  JOIN pg_sequence q ON q.seqrelid = x.sequence
 -- One that has given nothing yet begins with its start.
 WHERE x.greatest > coalesce(pg_sequence_last_value(x.sequence), q.seqstart - 1)
