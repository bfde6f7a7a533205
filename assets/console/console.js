// Keys, themes, copying, pausing, and which tabs hold a stream. Everything else is in the pages.
'use strict';

const element = (id) => document.getElementById(id);

// Themes.
const theme = element('theme');
theme.value = document.documentElement.dataset.theme ?? '';
theme.addEventListener('change', () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem('pgtopic-theme', theme.value);
  } catch {
    // Then it holds for this page.
  }
});

// Pausing: the page stays as it is. To go on, it is loaded again.
let paused = false;
function pause() {
  const button = element('pause');
  if (!button) return;
  if (paused) {
    location.reload();
    return;
  }
  paused = true;
  button.setAttribute('aria-pressed', 'true');
  button.textContent = 'Paused. Resume updates';
}
element('pause')?.addEventListener('click', pause);
document.addEventListener('htmx:sse:before:message', (event) => {
  if (paused || isInUse()) event.preventDefault();
  if (!request.headers['X-Once'] && !holdsStream()) connection?.reader?.cancel();
});

// A browser has six connections for all tabs of a console. So at most three tabs hold a stream: those that were used
// last. The others ask every 5 s. Each page writes into `KEY` that it was used.
const KEY = 'pgtopic-streams';
const STREAMS_MAX = 3;
const id = Math.random().toString(36).slice(2);
let request;
let connection;

function readHolders() {
  try {
    return (localStorage.getItem(KEY) ?? '').split(' ').filter(Boolean);
  } catch {
    return [];
  }
}
function writeHolders(holders) {
  try {
    localStorage.setItem(KEY, holders.slice(0, STREAMS_MAX).join(' '));
  } catch {
    // Without storage, a tab holds no stream.
  }
}
const holdsStream = () => readHolders().includes(id);
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
addEventListener('focus', enter);
addEventListener('pageshow', enter);
addEventListener('pagehide', leave);
document.addEventListener('visibilitychange', () => (document.hidden ? leave() : enter()));

// The session is over, or the rights have changed: the page says so.
document.addEventListener('htmx:sse:error', (event) => {
  if ([401, 403, 404].includes(event.detail?.status)) location.reload();
});

// Whether somebody reads command lines, selects a text or fills in a filter: then nothing moves.
function isInUse() {
  const selection = getSelection();
  return (
    document.querySelector('#live details[open], #live :is(input, select):focus') ||
    (!selection.isCollapsed && element('live').contains(selection.anchorNode))
  );
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
