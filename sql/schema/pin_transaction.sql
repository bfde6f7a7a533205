-- ----------------------------------------------------------------------
-- schema/pin_transaction: the same through a pooler, for one transaction, as
-- far as it can be done once the transaction has begun.
--
-- Parameters: none. Returns: nothing of use. Locks: none.
-- ----------------------------------------------------------------------
SELECT set_config('transaction_timeout', '0', true)
 WHERE current_setting('server_version_num')::integer >= 170000
