// Incidents, from the first page to the cause and to the cure.

import assert from 'node:assert/strict';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { api, copyLines, publish, run, seen, subscribed, visit } from './fixture.mjs';

const attention = (page, topic) => page.locator('.attention li', { hasText: topic });

test('a receiver that breaks is in the attention list within seconds, and goes when it is mended', async (t) => {
  const { receiver } = await subscribed(t, 'broken', { max_backoff_seconds: 1, max_retries: 1000 });
  const page = await visit(t);
  receiver.status = 500;
  await publish('broken', 'a');
  await attention(page, 'broken').waitFor();
  await attention(page, 'broken').getByRole('link').first().click();
  await seen(page, '500 Internal Server Error');
  receiver.status = 204;
  await receiver.arrived(1);
  await seen(page, 'Nothing is owed.');
});

test('dead letters are replayed by group, and the job is seen to its end', async (t) => {
  const { receiver } = await subscribed(t, 'dead', { max_retries: 1 });
  receiver.status = 500;
  for (const key of ['a', 'b', 'c']) await publish('dead', key);
  const page = await visit(t);
  await page.to('dead-letters?topic=dead');
  await page.getByText('3 fit the filter').waitFor();
  await page.getByRole('table').first().getByRole('link', { name: '3', exact: true }).click();
  await page.getByText('3 fit the filter').waitFor();
  receiver.status = 204;
  await page.getByRole('link', { name: 'Replay them' }).click();
  await page.getByRole('button', { name: 'Replay 3' }).click();
  await seen(page, 'Progress');
  await seen(page, '3 of 3');
  await receiver.arrived(3);
  await page.to('dead-letters?topic=dead');
  await seen(page, 'No dead letters that fit');
});

test('dead letters are discarded only after a page that says how many', async (t) => {
  const { receiver } = await subscribed(t, 'discarded', { max_retries: 1 });
  receiver.status = 500;
  await publish('discarded', 'a');
  const page = await visit(t, { role: 'operate' });
  await page.to('dead-letters?topic=discarded');
  await page.getByText('1 fit the filter').waitFor();
  await page.getByRole('link', { name: 'Discard them' }).click();
  await seen(page, '1 dead letters in 1 lanes');
  assert.equal((await api('GET', '/dead-letter/count?topic=discarded')).count, 1);
  await page.getByRole('button', { name: 'Discard 1' }).click();
  await seen(page, '1 of 1');
  assert.equal((await api('GET', '/dead-letter/count?topic=discarded')).count, 0);
});

test('all halted lanes of a webhook are released at once, two clicks from the first page', async (t) => {
  const policy = { permanent_statuses: [422], on_exhausted: 'halt' };
  const { receiver } = await subscribed(t, 'many-halted', policy);
  receiver.status = 422;
  for (const key of ['a', 'b', 'c']) await publish('many-halted', key);
  const page = await visit(t, { role: 'operate' });
  const item = attention(page, 'many-halted').filter({ hasText: '3 halted lanes' });
  receiver.status = 204;
  await item.getByRole('link').first().click();
  await page.getByRole('button', { name: 'Release all' }).click();
  await receiver.arrived(3);
  await seen(page, 'Nothing is owed');
});

test('a webhook is paused and resumed, and a page that is open follows', async (t) => {
  const { receiver, webhook } = await subscribed(t, 'paused');
  const page = await visit(t, { role: 'operate' });
  const other = await page.context().newPage();
  const place = page.url().replace(/console\/.*/, `console/webhooks/${webhook.id}`);
  await other.goto(place);
  await page.goto(place);
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await seen(other, 'Nothing is sent until it is resumed');
  const id = await publish('paused', 'waits');
  await page.to(`messages/${id}`);
  await seen(page, 'paused');
  await page.goto(place);
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await receiver.arrived(1);
  await seen(other, 'Messages are sent as they come');
});

test('updates pause and resume, so that a page can be read', async (t) => {
  await subscribed(t, 'reading');
  const page = await visit(t);
  await page.to('topics/reading');
  await page.keyboard.press('p');
  await seen(page, 'Resume updates');
  await publish('reading', 'not yet seen');
  const other = await page.context().newPage();
  await other.goto(page.url());
  await seen(other, 'not yet seen');
  // Two looks of a stream are past.
  await publish('reading', 'later');
  await seen(other, 'later');
  assert.equal(await page.getByText('not yet seen').count(), 0);
  await page.getByRole('button', { name: 'Resume updates' }).click();
  await seen(page, 'not yet seen');
});

test('lines with foreign text do what they say, and nothing else', async (t) => {
  const key = "'; touch x\n@/etc/passwd $(touch x) `touch x`";
  const { receiver } = await subscribed(t, 'hostile');
  const page = await visit(t);
  const id = await publish('hostile', key, { note: key });
  const [sent] = await receiver.arrived(1);
  assert.deepEqual(JSON.parse(sent.body), { note: key });
  const cwd = await mkdtemp(join(tmpdir(), 'pgtopic-'));
  await page.to(`messages/${id}`);
  for (const line of await copyLines(page)) await run(line, { cwd });
  await page.to(`dead-letters?partition_key=${encodeURIComponent(key)}`);
  for (const line of await copyLines(page)) await run(line, { cwd });
  assert.deepEqual(await readdir(cwd), []);
});

test('dead letters of a key of two lines are replayed', async (t) => {
  const { receiver } = await subscribed(t, 'two-lines', { max_retries: 1 });
  receiver.status = 500;
  const key = 'two\nlines';
  await publish('two-lines', key);
  const page = await visit(t);
  await page.to(`dead-letters?topic=two-lines&partition_key=${encodeURIComponent(key)}`);
  await page.getByText('1 fit the filter').waitFor();
  receiver.status = 204;
  await page.getByRole('link', { name: 'Replay them' }).click();
  await page.getByRole('button', { name: 'Replay 1' }).click();
  await receiver.arrived(1);
});
