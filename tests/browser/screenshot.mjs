// Makes the picture at the top of README.md: traffic, and a receiver that is down. It takes a minute.
//
//     cargo run -- dev --temporary
//     node tests/browser/screenshot.mjs http://127.0.0.1:8000 docs/console.png

import { once } from 'node:events';
import http from 'node:http';
import { launch } from './launch.mjs';

const [api, file] = process.argv.slice(2);

async function post(path, body) {
  const answer = await fetch(api + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
}

/** A receiver that gives every request the status of its path. */
const receiver = http.createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(Number(request.url.slice(1))).end());
});
await once(receiver.listen(0, '127.0.0.1'), 'listening');
const url = (status) => `http://127.0.0.1:${receiver.address().port}/${status}`;

for (const topic of ['orders', 'invoices']) await post('/topics', { name: topic });
await post('/webhooks', { topic: 'orders', name: 'billing', url: url(204) });
await post('/webhooks', { topic: 'orders', name: 'search', url: url(204) });
await post('/webhooks', { topic: 'orders', name: 'partner', url: 'http://127.0.0.1:9/' });
const halts = { permanent_statuses: [422], on_exhausted: 'halt' };
await post('/webhooks', { topic: 'invoices', name: 'ledger', url: url(422), ...halts });
await post('/topics/invoices/messages', { partition_key: 'customer-7', payload: { total: 'twelve' } });

const until = Date.now() + 65_000;
for (let number = 0; Date.now() < until; number += 1) {
  await post('/topics/orders/messages', { partition_key: `order-${number % 97}`, payload: { number } });
  await new Promise((resolve) => setTimeout(resolve, 20));
}

const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, colorScheme: 'light' });
await page.goto(`${api}/console/`);
await page.screenshot({ path: file });
await browser.close();
receiver.close();
