-- Write what became of requests, for many lanes at once.
-- Parameters: worker; lanes (16 arrays); accepted deliveries (2 arrays); dead ones (7 arrays).
-- Returns: see settle. Locks: the rows it writes.
SELECT number, outcome, generation
  FROM pgtopic.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
                      $25, $26)
