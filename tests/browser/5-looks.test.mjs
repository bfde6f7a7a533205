// How every page looks: widths, themes, keys, and what axe finds.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { publish, seen, subscribed, visit } from './fixture.mjs';

/** Every screen with something on it. */
async function screens(t, topic) {
  const { receiver, webhook } = await subscribed(t, topic, { max_retries: 1 });
  receiver.status = 500;
  const key = 'a-long-partition-key-without-a-place-to-break-it-'.repeat(4);
  const id = await publish(topic, key);
  return [
    '',
    'topics',
    `topics/${topic}`,
    'webhooks',
    `webhooks/${webhook.id}`,
    'lanes',
    `lanes?webhook=${webhook.id}`,
    `lane?webhook=${webhook.id}&partition_key=${key}`,
    `messages/${id}`,
    `deliveries/${webhook.id}/${id}`,
    'dead-letters',
    'dead-letters/replay',
    'jobs',
    'workers',
    'health',
    'settings',
    'nothing-here',
  ];
}

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing serious in any page (${colorScheme})`, async (t) => {
    const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    // The policy of the pages refuses what a test puts into them.
    const page = await visit(t, { colorScheme, bypassCSP: true });
    for (const screen of await screens(t, `axe-${colorScheme}`)) {
      await page.to(screen);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
      const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
      assert.deepEqual(
        serious.map(({ id, nodes }) => ({ screen, id, nodes: nodes.map(({ html }) => html) })),
        [],
      );
    }
  });
}

test('no page is wider than a telephone of 390 px', async (t) => {
  const page = await visit(t, { viewport: { width: 390, height: 844 } });
  for (const screen of await screens(t, 'narrow')) {
    await page.to(screen);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, screen);
  }
});

test('keys lead to the pages, and a theme stays', async (t) => {
  const page = await visit(t);
  const heading = (name) => page.getByRole('heading', { name, exact: true }).waitFor();
  await heading('Now');
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await heading('Topics');
  await page.keyboard.press('?');
  await heading('Keys');
  await page.keyboard.press('Escape');
  const id = await publish('orders', 'found by its id');
  await page.keyboard.press('/');
  await page.keyboard.type(String(id));
  await page.keyboard.press('Enter');
  await seen(page, 'found by its id');
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByLabel('Theme').selectOption('dark');
  assert.notEqual(await ground(), light);
  await page.to('topics');
  assert.notEqual(await ground(), light);
});
