-- Write what became of requests, for many lanes at once.
-- Parameters: worker; accepted deliveries (4 arrays); dead ones (7 arrays); lanes that change (9 arrays).
-- Returns: nothing; see settle in the migrations. Locks: the rows it writes.
SELECT pgtopic.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
