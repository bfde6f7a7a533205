// Keys, themes, copying, pausing, streams, and whether a page is up to date. Everything else is in the pages.
'use strict';

const element = (id) => document.getElementById(id);

// What all tabs share. A browser may forbid it: then nothing is kept, and no tab holds a stream.
function shared(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

// Themes.
const theme = element('theme');
theme.value = document.documentElement.dataset.theme ?? '';
theme.addEventListener('change', () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
  shared('pgtopic-theme', theme.value);
});

// Pausing: the page stays as it is. To go on, it is loaded again.
let paused = false;
function pause() {
  const button = element('pause');
  if (!button) return;
  if (paused) return location.reload();
  paused = true;
  button.setAttribute('aria-pressed', 'true');
  button.textContent = 'Paused. Resume updates';
  tell();
}
element('pause')?.addEventListener('click', pause);

// What comes while somebody uses the page is shown afterwards.
let held;
document.addEventListener('htmx:before:swap', (event) => {
  held = paused || isInUse() ? event.detail.ctx : undefined;
  if (held) event.preventDefault();
  tell();
});
setInterval(() => {
  if (held && !paused && !isInUse()) htmx.swap(held);
}, 500);

// A browser has six connections for all tabs of a console. So at most three tabs hold a stream: those that were used
// last. The others ask every 5 s. Each page writes into `KEY` that it was used.
const KEY = 'pgtopic-streams';
const STREAMS_MAX = 3;
const id = Math.random().toString(36).slice(2);
let request, connection;

const readHolders = () => shared(KEY).split(' ').filter(Boolean);
const writeHolders = (holders) => shared(KEY, holders.slice(0, STREAMS_MAX).join(' '));
const holdsStream = () => readHolders().includes(id);
document.addEventListener('htmx:sse:before:message', () => {
  if (!request.headers['X-Once'] && !holdsStream()) connection?.reader?.cancel();
});
function choose() {
  const holders = readHolders();
  if (!document.hidden && !holders.includes(id)) writeHolders([...holders, id]);
  if (request) request.headers['X-Once'] = holdsStream() ? '' : '1';
}
function enter() {
  if (document.hidden) return;
  writeHolders([id, ...readHolders().filter((other) => other !== id)]);
  if (request?.headers['X-Once']) {
    choose();
    connection?.delayCanceller?.();
  }
}
const leave = () => writeHolders(readHolders().filter((other) => other !== id));
enter();
document.addEventListener('htmx:config:request', (event) => {
  request = event.detail.ctx.request;
  choose();
});
document.addEventListener('htmx:sse:before:connection', (event) => {
  connection = event.detail.connection;
  choose();
});
addEventListener('storage', (event) => {
  if (event.key === KEY && !holdsStream()) connection?.reader?.cancel();
});
for (const name of ['focus', 'pageshow']) addEventListener(name, enter);
addEventListener('pagehide', leave);
document.addEventListener('visibilitychange', () => (document.hidden ? leave() : enter()));

// A line above the page says why it is not up to date.
let failure = '';
function tell() {
  const waits = 'Updates wait: command lines are open, a field is in use, or a text is selected.';
  const said = failure || (held && !paused ? waits : '');
  const line = element('updates');
  if (line.textContent !== said) line.textContent = said;
  element('live').toggleAttribute('data-stale', failure !== '');
}
function fail(status) {
  const time = new Date().toISOString().slice(11, 19);
  failure ||= `Not up to date since ${time} UTC: the console ${status ? `answers ${status}` : 'does not answer'}.`;
  tell();
}
// The session is over, the rights have changed, or the thing is gone: the page says so when it is loaded again.
const isOver = (status) => [401, 403, 404].includes(status);
document.addEventListener('htmx:sse:error', ({ detail }) => {
  if (isOver(detail.status)) location.reload();
  // A stream that breaks is asked for again at once. If that fails, too, the page is old.
  else if (detail.connection?.attempt > 0) fail(detail.status);
});
document.addEventListener('htmx:sse:after:message', ({ detail }) => {
  failure = '';
  // After a fault it is asked for every 10 s, or as rarely as the console wants.
  const { config } = detail.connection;
  config.reconnectMaxDelay = Math.max(config.reconnectDelay, 10_000);
  tell();
});
// If the first request fails, htmx gives up. So the page asks again.
function ask() {
  if (document.hidden) document.addEventListener('visibilitychange', ask, { once: true });
  else element('live').dispatchEvent(new Event('again'));
}
for (const name of ['htmx:response:error', 'htmx:error']) {
  document.addEventListener(name, ({ detail }) => {
    const status = detail.ctx?.response?.status;
    fail(status);
    setTimeout(() => (isOver(status) ? location.reload() : ask()), 5000);
  });
}

// Whether somebody reads command lines, selects a text or fills in a filter: then nothing moves.
function isInUse() {
  const { isCollapsed, anchorNode } = getSelection();
  if (!isCollapsed && element('live').contains(anchorNode)) return true;
  return Boolean(document.querySelector('#live details[open], #live :is(input, select):focus'));
}

// Copying. The clipboard is there on https and on localhost only.
document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const line = button.parentElement.querySelector('pre');
  try {
    await navigator.clipboard.writeText(line.textContent);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(line);
    button.textContent = 'Selected';
  }
  setTimeout(() => (button.textContent = 'Copy'), 1500);
});

// Keys.
let first = '';
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, textarea, select')) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const before = first;
  first = event.key === 'g' ? 'g' : '';
  if (before === 'g') {
    document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
  } else if (event.key === '/') {
    event.preventDefault();
    element('find')?.focus();
  } else if (event.key === '?') {
    element('keys').showModal();
  } else if (event.key === 'p') {
    pause();
  }
});
