// Lanes and deliveries: what stands in the way, and how it is put out of the way.

import assert from 'node:assert/strict';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { api, copyLines, publish, run, seen, subscribed, visit } from './fixture.mjs';

test('a halted lane is found from the first page, and its head is skipped', async (t) => {
  const policy = { permanent_statuses: [422], on_exhausted: 'halt' };
  const { receiver } = await subscribed(t, 'halted', policy);
  receiver.status = (body) => (body.includes('poison') ? 422 : 204);
  const head = await publish('halted', 'customer-7', { total: 'poison' });
  for (const total of [1, 2]) await publish('halted', 'customer-7', { total });
  const page = await visit(t, { role: 'operate' });
  await page.locator('.attention li', { hasText: 'halted:hook' }).getByText('1 halted lane').waitFor();
  const item = page.locator('.attention li', { hasText: '1 halted lane' });
  await item.getByRole('link').first().click();
  await page.getByRole('link', { name: 'customer-7' }).click();
  await page.locator('svg.timeline').waitFor();
  await page.getByRole('cell', { name: '422 Unprocessable Entity' }).first().waitFor();
  await page.getByRole('link', { name: 'Skip the head…' }).click();
  await seen(page, '2 followers no longer wait for it');
  assert.equal(receiver.got.length, 1);
  await page.getByRole('button', { name: `Skip message ${head}` }).click();
  const [first, second] = await receiver.arrived(2);
  assert.deepEqual([first.body, second.body].map(JSON.parse), [{ total: 1 }, { total: 2 }]);
  await seen(page, 'Nothing is owed.');
  const { items } = await api('GET', '/dead-letter?topic=halted');
  assert.deepEqual(items.map(({ message_id, reason }) => [message_id, reason]), [[head, 'skipped']]);
});

test('a lane that waits for its next attempt is tried at once', async (t) => {
  const { receiver, webhook } = await subscribed(t, 'waiting', { retry_schedule: [3600] });
  receiver.status = 500;
  await publish('waiting', 'slow');
  const page = await visit(t);
  await page.to(`lanes?webhook=${webhook.id}&state=waiting`);
  await page.getByRole('link', { name: 'slow', exact: true }).click();
  receiver.status = 204;
  await page.getByRole('button', { name: 'Try now' }).click();
  await receiver.arrived(1);
  await seen(page, 'Nothing is owed.');
});

test('a delivery shows its attempts, and the request as a line that can be run', async (t) => {
  const key = "'; touch x\n@/etc/passwd $(touch x) `touch x`";
  const { receiver } = await subscribed(t, 'request', { retry_schedule: [3600] });
  receiver.status = 500;
  const id = await publish('request', key, { note: key });
  const page = await visit(t);
  await page.to(`messages/${id}`);
  await page.getByRole('link', { name: 'Delivery and attempts' }).click();
  await page.getByRole('heading', { name: `Message ${id} to request:hook` }).waitFor();
  await page.getByRole('cell', { name: '500 Internal Server Error' }).first().waitFor();
  const cwd = await mkdtemp(join(tmpdir(), 'pgtopic-'));
  receiver.status = 204;
  const before = receiver.got.length;
  for (const line of await copyLines(page)) {
    // The lines of the actions are run by other tests.
    if (line.includes(receiver.url)) await run(line, { cwd });
  }
  assert.equal(receiver.got.length, before + 1);
  assert.deepEqual(receiver.got.at(-1), { ...receiver.got[0], status: 204 });
  assert.deepEqual(await readdir(cwd), []);
  await page.getByRole('button', { name: 'Cancel this one' }).click();
  await page.getByRole('button', { name: 'Replay this one' }).click();
  await receiver.arrived(2);
  await seen(page, 'delivered');
});

test('a topic that holds keeps its messages until it is resumed', async (t) => {
  const { receiver } = await subscribed(t, 'held');
  const page = await visit(t, { role: 'operate' });
  await page.to('topics/held');
  await page.getByRole('button', { name: 'Hold', exact: true }).click();
  await page.getByRole('button', { name: 'Resume', exact: true }).waitFor();
  const id = await publish('held', 'later');
  await page.to('');
  await page.locator('.attention li', { hasText: 'held' }).getByText('Nothing of the topic is sent').waitFor();
  await page.to(`messages/${id}`);
  await seen(page, 'the topic held is held since');
  assert.equal(receiver.got.length, 0);
  await page.to('topics/held');
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await page.getByRole('button', { name: 'Hold', exact: true }).waitFor();
  await receiver.arrived(1);
});

test('before publishing, the form says who gets the message and who does not', async (t) => {
  const { receiver } = await subscribed(t, 'preview', { types: ['order.*'] });
  const page = await visit(t);
  await page.to('topics/preview');
  await page.getByLabel('Type, if it has one').fill('invoice.paid');
  await page.getByRole('button', { name: 'Preview: who gets it?' }).click();
  await seen(page, 'The webhook gets order.*. The message has the type invoice.paid.');
  await page.getByLabel('Type, if it has one').fill('order.paid');
  await page.getByRole('button', { name: 'Preview again' }).click();
  assert.equal((await api('GET', '/topics/preview/messages')).items.length, 0);
  await page.getByRole('button', { name: 'Publish', exact: true }).click();
  await receiver.arrived(1);
});
