// The lines to copy: each kind that these screens show is run, and must succeed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, eventually, publish, Receiver, run, seen, shownLines, subscribed, visit } from './fixture.mjs';

/** Lines that run until somebody stops them. */
const LONG = /^(PGTOPIC_\S+ )?pgtopic (worker|tail)\b/;
/** How many lines one screen may lead to: each changes what the screen shows next. */
const LINES_MAX = 40;

/** What a line is, whichever topic, webhook or message it names. A request to a receiver is signed anew each time. */
const shape = (line) =>
  line.startsWith('curl --globoff')
    ? 'curl --globoff'
    : line.replaceAll(/lines-[a-z]+/g, 'TOPIC').replaceAll(/\d+/g, 'N');

/** `url`: where examples shall lead. */
async function attempt(shown, url) {
  const line = shown.replace('https://example.com/hook', url);
  // 124: it was stopped. Before that it ran.
  if (LONG.test(line)) return run(`timeout 2 env ${line} || test $? = 124`);
  // 1: it has found what is wrong here.
  if (line.startsWith('pgtopic doctor')) return run(`${line} || test $? = 1`);
  try {
    return await run(line);
  } catch (error) {
    // On a terminal it asks first.
    if (!error.message.includes('needs --yes')) throw error;
    return run(`${line} --yes`);
  }
}

/** Runs each kind of line of a screen that was not run yet. After each, the screen is loaded anew. */
async function runLines(page, screen, done, url) {
  for (let number = 0; number < LINES_MAX; number += 1) {
    await page.to(screen);
    const shown = (await shownLines(page)).filter((line) => /^(curl|pgtopic|PGTOPIC_\S+ pgtopic) /.test(line));
    const line = shown.find((one) => !done.has(shape(one)));
    if (!line) return;
    const failed = await attempt(line, url).then(
      (output) => /"status":4\d\d\b/.test(output) && output,
      (error) => `${error.message}\n${error.stdout}`,
    );
    if (failed) {
      // A worker may have been faster. Then the line is not there any more.
      await page.to(screen);
      assert.ok(!(await shownLines(page)).includes(line), `${screen}\n${line}\n${failed}`);
    } else {
      done.add(shape(line));
    }
  }
  assert.fail(`${screen} shows new lines again and again`);
}

test('each line that a page shows can be run', async (t) => {
  const done = new Set();
  const page = await visit(t);
  const example = await Receiver.start(t);
  const walk = async (...screens) => {
    for (const screen of screens) await runLines(page, screen, done, example.url);
  };

  // A lane waits. Its head can be tried, canceled and skipped.
  const waiting = await subscribed(t, 'lines-waiting', { retry_schedule: [3600] });
  waiting.receiver.status = 500;
  const heads = [];
  // A key that begins with `-` must not be taken for a flag.
  for (let number = 0; number < 6; number += 1) heads.push(await publish('lines-waiting', '-k'));
  const { id } = waiting.webhook;
  const lane = `lane?webhook=${id}&partition_key=-k`;
  await page.to(lane);
  await page.getByRole('cell', { name: '500 Internal Server Error' }).first().waitFor();
  await walk('', `lanes?webhook=${id}`, `messages/${heads[1]}`, `deliveries/${id}/${heads[1]}`, lane);
  await page.to(lane);
  const skip = await page.getByRole('link', { name: 'Skip the head…' }).getAttribute('href');
  await walk(skip);
  // The other line of the same question is about the next head.
  await page.to(lane);
  await page.getByRole('cell', { name: '500 Internal Server Error' }).first().waitFor();
  await walk(await page.getByRole('link', { name: 'Skip the head…' }).getAttribute('href'), `lanes?webhook=${id}`);

  // A halted lane.
  const halted = await subscribed(t, 'lines-halted', { permanent_statuses: [422], on_exhausted: 'halt' });
  halted.receiver.status = 422;
  const poison = await publish('lines-halted', '-k');
  await page.to(`lane?webhook=${halted.webhook.id}&partition_key=-k`);
  await seen(page, 'halted');
  await walk(`messages/${poison}`, `lane?webhook=${halted.webhook.id}&partition_key=-k`, '', 'health');

  // Dead letters, and jobs that take long.
  const dead = await subscribed(t, 'lines-dead', { permanent_statuses: [422] });
  dead.receiver.status = 422;
  const letters = [];
  for (let number = 0; number < 30; number += 1) letters.push(await publish('lines-dead', `k${number}`));
  const count = async () => (await api('GET', '/dead-letter/count?topic=lines-dead')).count;
  // One that was replayed is a dead letter again soon. Until then its other lines are not shown.
  const delivery = `deliveries/${dead.webhook.id}/${letters[0]}`;
  for (const screen of ['', `messages/${letters[0]}`, delivery, delivery, 'dead-letters?topic=lines-dead']) {
    await eventually('dead letters', async () => (await count()) === letters.length);
    await walk(screen);
  }
  for (const word of ['replay', 'discard']) await walk(`dead-letters/${word}?topic=lines-dead&partition_key=k1`);
  for (let number = 0; number < 2; number += 1) {
    const job = await api('POST', '/dead-letter/replay', { topic: 'lines-dead', rate_per_second: 1 });
    await walk(`jobs/${job.id}`);
  }

  // A topic without a webhook, one that is held, a webhook that is gone, messages that nobody wants.
  await api('POST', '/topics', { name: 'lines-nobody' });
  const nobody = await publish('lines-nobody', 'k');
  await walk(`messages/${nobody}`, 'topics/lines-nobody', 'webhooks?topic=lines-nobody');
  const gone = await subscribed(t, 'lines-gone');
  gone.receiver.status = 410;
  const refused = await publish('lines-gone', 'k');
  await page.to(`webhooks/${gone.webhook.id}`);
  await seen(page, 'disabled');
  gone.receiver.status = 204;
  await walk('', 'health', `messages/${refused}`, `webhooks/${gone.webhook.id}`, 'topics/lines-gone');
  const picky = await subscribed(t, 'lines-picky', { types: ['order.*'] });
  const unwanted = await publish('lines-picky', 'k');
  await api('POST', '/topics/lines-picky/pause', { mode: 'hold' });
  await walk('', `messages/${unwanted}`, `webhooks/${picky.webhook.id}`, 'topics/lines-picky');

  // Nothing is sent at all.
  await run('pgtopic sending off');
  await subscribed(t, 'lines-later');
  const later = await publish('lines-later', 'k');
  await walk('', 'workers', 'health', `messages/${later}`);
  await run('pgtopic sending on');

  // What is there to be tried: examples name a topic and a webhook.
  await api('PUT', '/topics/orders', {});
  const named = { topic: 'orders', name: 'billing', url: example.url };
  if (!(await api('GET', '/webhooks?topic=orders')).items.some(({ name }) => name === 'billing')) await api('POST', '/webhooks', named);
  await walk('topics', 'webhooks', 'lanes', 'lanes?webhook=orders:billing', 'jobs?state=failed', 'workers', 'settings');

  const words = [...done].map((line) => line.replace(/^curl .*/, 'curl').split(' ').slice(0, 3).join(' '));
  for (const expected of [
    'pgtopic dead-letter discard',
    'pgtopic dead-letter replay',
    'pgtopic deliveries cancel',
    'pgtopic deliveries replay',
    'pgtopic doctor',
    'pgtopic jobs cancel',
    'pgtopic lanes list',
    'pgtopic lanes retry',
    'pgtopic lanes skip',
    'pgtopic publish TOPIC',
    'pgtopic sending on',
    'pgtopic topics pause',
    'pgtopic topics resume',
    'pgtopic webhooks create',
    'pgtopic webhooks enable',
    'pgtopic webhooks pause',
    'pgtopic webhooks resume',
  ]) {
    assert.ok(words.includes(expected), `${expected} was not run: ${[...done].join('\n')}`);
  }
});
