// The first steps: an installation where nothing is, up to the first message that arrives.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyLines, logIn, Receiver, run, seen, setup, sql, visit } from './fixture.mjs';

test('an unknown token is refused, a known one enters, and logging out ends it', async (t) => {
  const page = await visit(t, { role: null });
  await logIn(page, 'unknown');
  await seen(page, 'This token is not known here.');
  await logIn(page, setup.tokens.admin);
  await page.getByRole('heading', { name: 'Now', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Token').waitFor();
  await page.to('webhooks');
  await page.getByLabel('Token').waitFor();
});

test('the lines of an empty installation lead to a first message, which is seen live', async (t) => {
  const receiver = await Receiver.start(t);
  const page = await visit(t);
  await seen(page, 'Begin here');
  const [topic, webhook, insert] = await copyLines(page);
  await run(topic);
  await run(webhook.replace('https://example.com/hook', receiver.url));
  await page.to('topics/orders');
  await seen(page, 'No message fits');
  await sql(insert);
  const [first] = await receiver.arrived(1);
  assert.deepEqual(first, { key: 'user-42', body: '{"event": "order.paid"}', status: 204 });
  // Nobody has loaded the page anew.
  await page.getByRole('cell', { name: 'user-42' }).waitFor();
});

test('the form publishes, and the message says that it was delivered', async (t) => {
  const page = await visit(t);
  await page.to('topics/orders');
  await page.getByLabel('Partition key').last().fill('by form');
  await page.getByLabel('Payload, JSON').fill('{"half": ');
  await page.getByRole('button', { name: 'Publish' }).click();
  await seen(page, 'payload');
  await page.goBack();
  await page.getByLabel('Partition key').last().fill('by form');
  await page.getByLabel('Payload, JSON').fill('{"whole":  1}');
  await page.getByRole('button', { name: 'Publish' }).click();
  await page.getByRole('heading', { name: /^Message \d+$/ }).waitFor();
  await seen(page, '{"whole":  1}');
  await seen(page, 'by form');
});
