/* Opens pages in headless Chromium and lets each try to reach a relay; prints what each got as one JSON object. The
 * assertions are in tests/net/test_browsers.py. Usage: node foreign_page.mjs '{"chromium", "resolve", "pages"}', where
 * each page is {"url", "cookies", "sockets": [[url, protocols]], "reads": [[url, options]]}. */

import { chromium } from "playwright-core";

const FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"];

/** Runs in the page: how each socket ends or opens, and what can be read of each address. */
const reach = async ({ cookies, sockets, reads }) => {
  for (const cookie of cookies) document.cookie = cookie;
  const dial = ([url, protocols]) =>
    new Promise((resolve) => {
      const socket = new WebSocket(url, protocols);
      socket.onopen = () => {
        socket.close();
        resolve("open");
      };
      socket.onclose = ({ code }) => resolve(code);
    });
  const read = async ([url, options]) => {
    try {
      const response = await fetch(url, options);
      return { status: response.status, type: response.type, body: await response.text() };
    } catch (error) {
      return { failed: error.name };
    }
  };
  return { sockets: await Promise.all(sockets.map(dial)), reads: await Promise.all(reads.map(read)) };
};

async function main({ chromium: executablePath, resolve, pages }) {
  const args = resolve ? [...FLAGS, `--host-resolver-rules=MAP ${resolve} 127.0.0.1`] : FLAGS;
  const browser = await chromium.launch({ executablePath, args });
  try {
    const seen = [];
    for (const { url, cookies = [], sockets = [], reads = [] } of pages) {
      const page = await browser.newPage();
      const response = await page.goto(url);
      const status = response.status();
      seen.push({ status, ...(await page.evaluate(reach, { cookies, sockets, reads })) });
    }
    console.log(JSON.stringify(seen));
  } finally {
    await browser.close();
  }
}

await main(JSON.parse(process.argv[2]));
