import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** A browser that finds the console under a name that is not localhost, too. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? PROGRAMS.find(existsSync),
    args: ['--no-sandbox', '--host-resolver-rules=MAP console.test 127.0.0.1'],
  });
}
