// What most tests need: a site of their own, and a browser, from the first test of a file to its last.

import { after, before } from "node:test";
import { openBrowser } from "./harness.mjs";
import { openSite } from "./site.mjs";

export let site, browser;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await site?.close();
});
