// Keys, themes, copying, and pausing. Everything else is in the pages.
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
});
// A browser has six connections for all its pages. So at most three pages hold a stream, and the
// others ask every 5 s. A page that holds one says so in the storage, again and again: this works
// over plain HTTP, too. Without storage a page asks.
const STREAMS = 3;
const MARK = 'pgtopic-stream-';
const FRESH_MS = 6000;
const mine = MARK + Math.random();
let request;
let connection;
function takePlace() {
  try {
    const others = Object.keys(localStorage).filter((key) => key.startsWith(MARK) && key !== mine);
    const isFresh = (key) => Math.abs(Date.now() - localStorage.getItem(key)) < FRESH_MS;
    for (const key of others) if (!isFresh(key)) localStorage.removeItem(key);
    const free = !document.hidden && others.filter(isFresh).length < STREAMS;
    if (free) localStorage.setItem(mine, Date.now());
    else localStorage.removeItem(mine);
    return free;
  } catch {
    return false;
  }
}
function leavePlace() {
  try {
    localStorage.removeItem(mine);
  } catch {
    // Then there was no place.
  }
}
function choose() {
  if (request) request.headers['X-Once'] = takePlace() ? '' : '1';
}
document.addEventListener('htmx:config:request', (event) => {
  request = event.detail.ctx.request;
  choose();
});
document.addEventListener('htmx:sse:before:connection', (event) => {
  connection = event.detail.connection;
  choose();
});
// A page that has lost its place gives its stream up.
setInterval(() => {
  if (request && request.headers['X-Once'] === '' && !takePlace()) connection?.reader?.cancel();
}, FRESH_MS / 3);
addEventListener('pagehide', leavePlace);
document.addEventListener('visibilitychange', () => document.hidden && leavePlace());
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
