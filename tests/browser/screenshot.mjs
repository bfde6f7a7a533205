// Makes the picture at the top of README.md, of a demo that has run for a minute:
//
//     cargo run -- dev --demo --temporary
//     node tests/browser/screenshot.mjs http://127.0.0.1:8000/console/ docs/console.png

import { launch } from './launch.mjs';

const [address, file] = process.argv.slice(2);
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
await page.goto(address);
await page.screenshot({ path: file });
await browser.close();
