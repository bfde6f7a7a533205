// What the flows share: a browser, receivers, and the API.
//
// `tests/it/console/browser.rs` starts the database and the processes, and says in `PGTOPIC_BROWSER`
// where they are: JSON `{"serve", "api"}` with addresses `host:port`, `tokens` by role, `database`,
// the URL for psql, and `bin`, the folder of the binary.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { after } from 'node:test';
import { promisify } from 'node:util';
import { launch } from './launch.mjs';

export const setup = JSON.parse(process.env.PGTOPIC_BROWSER);

const browser = await launch();
after(() => browser.close());

/** How long a condition may take. On a busy machine a page is looked at every 30 s. */
const LIMIT_MS = 90_000;

/** How long the end of a visit may take. */
const CLOSE_LIMIT_MS = 5_000;

/**
 * A page of a new visitor: a context of its own, logged in if a role is given. An error in the page
 * or a broken rule of its content security policy fails the test.
 */
export async function visit(t, { role = 'admin', base = `http://${setup.serve}`, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(LIMIT_MS);
  const errors = [];
  context.on('weberror', (error) => errors.push(error.error().message));
  context.on('console', (message) => {
    if (/content security policy/i.test(message.text())) errors.push(message.text());
  });
  t.after(async () => {
    // Chromium may never close a context whose page still loads. The browser ends with the tests.
    await Promise.race([context.close(), new Promise((resolve) => setTimeout(resolve, CLOSE_LIMIT_MS).unref())]);
    assert.deepEqual(errors, []);
  });
  const page = await context.newPage();
  page.to = (path) => page.goto(`${base}/console/${path}`);
  await page.to('');
  if (role) await logIn(page, setup.tokens[role]);
  return page;
}

export async function logIn(page, token) {
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Log in' }).click();
}

/** Waits until the condition holds, and returns its value. */
export async function eventually(what, condition) {
  const until = Date.now() + LIMIT_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < until, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until the text is seen, without a reload of the page. */
export async function seen(page, text) {
  try {
    await page.getByText(text).first().waitFor();
  } catch (error) {
    error.message += `\n${page.url()}\n${await page.locator('main').innerText()}`;
    throw error;
  }
}

/** A request of the API, by an administrator. Returns the answer's JSON. */
export async function api(method, path, body) {
  const answer = await fetch(`http://${setup.serve}${path}`, {
    method,
    headers: { authorization: `Bearer ${setup.tokens.admin}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
}

/** Publishes a message; returns its id. */
export async function publish(topic, partition_key, payload = {}) {
  return (await api('POST', `/topics/${topic}/messages`, { partition_key, payload })).id;
}

const server = async (t, handler) => {
  const listener = http.createServer(handler).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.after(() => {
    listener.closeAllConnections();
    listener.close();
  });
  return listener.address().port;
};

/** A server that answers each request with the same page. */
export async function servePage(t, html) {
  const port = await server(t, (_, response) =>
    response.setHeader('content-type', 'text/html').end(html),
  );
  return `http://127.0.0.1:${port}/`;
}

/**
 * A proxy that puts a prefix before all paths of the console. While `fault.status` is set, streams are answered with it.
 * `fault.cut` breaks the last stream.
 */
export async function serveBehind(t, prefix, fault = {}) {
  const [host, port] = setup.serve.split(':');
  const proxy = (request, response) => {
    const path = request.url.slice(prefix.length);
    if (!request.url.startsWith(prefix) || !path.startsWith('/')) {
      response.writeHead(404).end();
      return;
    }
    const { method, headers } = request;
    if (headers.accept?.includes('text/event-stream')) {
      if (fault.status) {
        response.writeHead(fault.status).end();
        return;
      }
      fault.cut = () => response.destroy();
    }
    const upstream = http.request({ host, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    response.on('close', () => upstream.destroy());
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  };
  return `http://127.0.0.1:${await server(t, proxy)}${prefix}`;
}

/** A receiver of webhooks. It answers with `status`, and keeps what it got. */
export class Receiver {
  got = [];
  status = 204;

  static async start(t) {
    const receiver = new Receiver();
    const port = await server(t, async (request, response) => {
      const parts = [];
      for await (const part of request) parts.push(part);
      const body = Buffer.concat(parts).toString();
      const status = typeof receiver.status === 'function' ? receiver.status(body) : receiver.status;
      receiver.got.push({ key: request.headers['webhook-partition'], body, status });
      response.writeHead(status).end();
    });
    receiver.url = `http://127.0.0.1:${port}/`;
    return receiver;
  }

  /** Waits for the end of that many requests with success. */
  arrived(count) {
    return eventually(`${count} messages at the receiver`, () => {
      const accepted = this.got.filter((one) => one.status < 300);
      return accepted.length >= count && accepted;
    });
  }
}

/** A topic with a webhook that leads to a receiver of its own. */
export async function subscribed(t, topic, policy = {}) {
  const receiver = await Receiver.start(t);
  await api('POST', '/topics', { name: topic });
  const hook = { topic, name: 'hook', url: receiver.url, ...policy };
  const webhook = await api('POST', '/webhooks', hook);
  return { receiver, webhook };
}

/** Runs a line as an operator would who copied it from a page: in a shell, beside the database. */
export async function run(line, { cwd } = {}) {
  const { bin, database, tokens } = setup;
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    DATABASE_URL: database,
    PGTOPIC_TOKEN: tokens.admin,
    PGTOPIC_DELIVERY__ALLOW_NETWORKS: '127.0.0.0/8',
  };
  const { stdout } = await promisify(execFile)('sh', ['-c', line], { cwd, env });
  return stdout;
}

export function sql(text) {
  return promisify(execFile)('psql', [setup.database, '-v', 'ON_ERROR_STOP=1', '-qAtc', text], {
    env: { PATH: process.env.PATH },
  }).then(({ stdout }) => stdout.trim());
}

/** The lines that a page offers to copy. */
export function copyLines(page) {
  return page.locator('.line pre').allTextContents();
}

/** The same, and the lines within advice. */
export function shownLines(page) {
  return page.locator('.line pre, .advice code').allTextContents();
}
