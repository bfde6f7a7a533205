-- ----------------------------------------------------------------------
-- server: the settings of the server that matter to a measurement.
--
-- Parameters: none.
-- Returns:    one row a setting: name, value with its unit.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT s.name, current_setting(s.name) AS value
  FROM pg_settings s
 WHERE s.name IN ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'wal_compression',
                  'wal_buffers', 'max_wal_size', 'checkpoint_timeout', 'shared_buffers', 'commit_delay', 'autovacuum',
                  'max_connections', 'data_checksums', 'huge_pages')
 ORDER BY s.name = 'server_version' DESC, s.name
