// Who may come in, from where, and with which rights.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, publish, seen, servePage, serveBehind, setup, subscribed, visit } from './fixture.mjs';

test('a role that may only read sees everything and can change nothing', async (t) => {
  const { webhook } = await subscribed(t, 'read-only');
  const page = await visit(t, { role: 'read' });
  await page.to(`webhooks/${webhook.id}`);
  await seen(page, 'Messages are sent as they come');
  assert.equal(await page.locator('main form[method=post]').count(), 0);
  const status = await page.evaluate(
    async (path) => (await fetch(path, { method: 'POST' })).status,
    `webhooks/${webhook.id}/pause`,
  );
  assert.equal(status, 403);
  assert.equal((await api('GET', `/webhooks/${webhook.id}`)).health.state, 'active');
});

test('a form on a page of another site is refused', async (t) => {
  const { webhook } = await subscribed(t, 'cross-site');
  const page = await visit(t);
  const action = `http://${setup.serve}/console/webhooks/${webhook.id}/pause`;
  const evil = await servePage(t, `<form method=post action="${action}"><button>Win</button></form>`);
  await page.goto(evil);
  // Cookies do not know ports, so the browser sends the session along.
  const answered = page.waitForResponse(action);
  await page.getByRole('button').click();
  assert.equal((await answered).status(), 403);
  assert.equal((await api('GET', `/webhooks/${webhook.id}`)).health.state, 'active');
});

test('a session counts in each process, and by a name that is not localhost', async (t) => {
  const port = (address) => address.split(':')[1];
  const page = await visit(t, { base: `http://console.test:${port(setup.serve)}` });
  await page.getByRole('heading', { name: 'Now', exact: true }).waitFor();
  await page.goto(`http://console.test:${port(setup.api)}/console/webhooks`);
  await page.getByRole('heading', { name: 'Webhooks', exact: true }).waitFor();
  const { webhook } = await subscribed(t, 'by-name');
  await page.goto(`http://console.test:${port(setup.api)}/console/webhooks/${webhook.id}`);
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await seen(page, 'Nothing is sent until it is resumed');
});

test('behind a prefix all works: links, forms, live updates', async (t) => {
  await subscribed(t, 'prefixed');
  const base = await serveBehind(t, '/ops/pgtopic');
  const page = await visit(t, { base });
  await page.getByRole('link', { name: 'Topics' }).click();
  await page.getByRole('link', { name: 'prefixed' }).click();
  await seen(page, 'No message fits');
  await publish('prefixed', 'live behind a prefix');
  await seen(page, 'live behind a prefix');
  assert.ok(page.url().startsWith(base), page.url());
  await page.getByRole('button', { name: 'Publish' }).click();
  await page.getByRole('heading', { name: /^Message \d+$/ }).waitFor();
  assert.ok(page.url().startsWith(base), page.url());
});

test('a page whose stream fails stays, says since when, and goes on by itself', async (t) => {
  await subscribed(t, 'stale');
  const fault = { status: 503 };
  const page = await visit(t, { base: await serveBehind(t, '/ops', fault) });
  await page.to('topics/stale');
  const line = page.getByText(/^Not up to date since \d\d:\d\d:\d\d UTC: the console answers 503\.$/);
  await line.waitFor();
  await seen(page, 'No message fits');
  fault.status = undefined;
  await publish('stale', 'after the fault');
  await seen(page, 'after the fault');
  await line.waitFor({ state: 'hidden' });
  // The stream breaks, and the next one is refused.
  fault.status = 503;
  fault.cut();
  await line.waitFor();
  await seen(page, 'after the fault');
  fault.status = undefined;
  await line.waitFor({ state: 'hidden' });
  // While somebody fills in the filter, nothing moves.
  await page.locator('#live').getByLabel('Type').focus();
  await publish('stale', 'held back');
  await seen(page, 'Updates wait');
  assert.equal(await page.getByText('held back').count(), 0);
  await page.keyboard.press('Escape');
  await seen(page, 'held back');
});

test('eight tabs are live at once', async (t) => {
  await subscribed(t, 'tabs');
  const first = await visit(t);
  const tabs = [first];
  while (tabs.length < 8) {
    const tab = await first.context().newPage();
    tabs.push(tab);
  }
  for (const tab of tabs) await tab.goto(`http://${setup.serve}/console/topics/tabs`);
  for (const tab of tabs) await seen(tab, 'No message fits');
  await publish('tabs', 'for every tab');
  for (const tab of tabs) await seen(tab, 'for every tab');
  // A click still gets a connection.
  await tabs[7].getByRole('link', { name: 'Workers' }).click();
  await tabs[7].getByRole('heading', { name: 'Workers', exact: true }).waitFor();
});
