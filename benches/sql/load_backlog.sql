-- Fills an empty, migrated database with a backlog, past all triggers, in about a minute: for
-- measuring lists, health and stats. It can be run again in a database where it has run.
--   psql -v webhooks=10000 -v owed=1000000 -v dead=100000 -v lanes=20 -f benches/sql/load_backlog.sql
-- lanes: how many lanes each webhook has. One tenth of what is owed is in webhook 1, in one lane for
-- each message.
\set ON_ERROR_STOP on
SET session_replication_role = replica;
SET search_path = pgtopic;
TRUNCATE topics, webhooks, messages, deliveries, lanes, dead_letters, activity, webhook_samples, topic_samples RESTART IDENTITY CASCADE;
INSERT INTO topics (name) SELECT 'topic-' || n FROM generate_series(1, 100) n;
INSERT INTO webhooks (topic_id, name, url, secrets)
SELECT 1 + n % 100, 'webhook-' || n, 'http://127.0.0.1:9/' || n, ARRAY['whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=']
  FROM generate_series(1, :webhooks) n;
-- One message for each delivery: webhook n owes messages of its topic.
INSERT INTO messages (id, topic_id, partition_key, type, payload, size_bytes, lane, created_at)
SELECT n, t.topic_id, k.key, 'order.paid', '{"n": 1}', 8, hashtextextended(k.key, t.topic_id), now() - interval '1 hour' + n * interval '1 ms'
  FROM generate_series(1, :owed + :dead) n
 CROSS JOIN LATERAL (SELECT CASE WHEN n <= :owed / 10 THEN 1 ELSE 1 + n % :webhooks END AS webhook) w
 CROSS JOIN LATERAL (SELECT 1 + w.webhook % 100 AS topic_id) t
 CROSS JOIN LATERAL (SELECT CASE WHEN n <= :owed / 10 THEN 'own-' || n ELSE 'key-' || (n / :webhooks) % :lanes END AS key) k;
INSERT INTO deliveries (webhook_id, lane, message_id)
SELECT CASE WHEN m.id <= :owed / 10 THEN 1 ELSE 1 + m.id % :webhooks END, m.lane, m.id FROM messages m WHERE m.id <= :owed;
INSERT INTO lanes (webhook_id, lane, position, due_at, stripe, partition_key, halted, failures, head_message_id, last_error, last_error_class, last_status_code)
SELECT d.webhook_id, d.lane, min(d.message_id) - 1,
       CASE WHEN d.lane % 10 = 0 THEN timestamptz 'infinity' WHEN d.lane % 10 = 1 THEN now() + interval '1 day' ELSE now() END,
       0, min(m.partition_key), d.lane % 10 = 0, CASE WHEN d.lane % 10 IN (0, 1) THEN 3 ELSE 0 END,
       CASE WHEN d.lane % 10 IN (0, 1) THEN min(d.message_id) END, CASE WHEN d.lane % 10 IN (0, 1) THEN 'answered 503' END,
       CASE WHEN d.lane % 10 IN (0, 1) THEN 'status' END, CASE WHEN d.lane % 10 IN (0, 1) THEN 503 END
  FROM deliveries d JOIN messages m ON m.id = d.message_id
 GROUP BY d.webhook_id, d.lane;
INSERT INTO dead_letters (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts, error_class, status_code, last_error)
SELECT CASE WHEN m.id % 10 = 0 THEN 1 + m.id % :webhooks ELSE 2 END, m.lane, m.id, m.topic_id, m.partition_key, m.type,
       'attempts_exhausted', 5, CASE m.id % 3 WHEN 0 THEN 'status' WHEN 1 THEN 'timeout' ELSE 'connect' END,
       CASE m.id % 3 WHEN 0 THEN 503 END, CASE m.id % 3 WHEN 0 THEN 'answered 503' WHEN 1 THEN 'no answer within 10 s' ELSE 'connection refused' END
  FROM messages m WHERE m.id > :owed;
-- What four workers wrote in the last minute.
INSERT INTO activity (worker_id, webhook_id, at, seconds, accepted, failed, dead, in_flight, latency, last_success_at, last_failure_at,
                      failing_since, last_status_code, last_error_class, last_error)
SELECT ('00000000-0000-0000-0000-00000000000' || w)::uuid, n, now() - s * interval '10 s', 10, 10, 2, 0, 1,
       ARRAY[0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 1, 0, 1, 0, 0, 1], now() - s * interval '10 s', now() - s * interval '10 s' - interval '1 s',
       NULL, 503, 'status', 'answered 503'
  FROM generate_series(1, 4) w CROSS JOIN generate_series(1, 6) s CROSS JOIN generate_series(1, :webhooks) n;
SELECT setval('message_ids', :owed + :dead);
ANALYZE topics; ANALYZE webhooks; ANALYZE messages; ANALYZE deliveries; ANALYZE lanes; ANALYZE dead_letters; ANALYZE activity;
