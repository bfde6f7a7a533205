// Sets the theme before the page is drawn.
'use strict';
try {
  const theme = localStorage.getItem('pgtopic-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Without storage, the theme is that of the system.
}
