// Moves Chromium for the Go tests. It reads one command a line from standard
// input, {"id":1,"do":"goto","page":"a","args":[…]}, and answers each with one
// line on standard output, {"id":1,"result":…} or {"id":1,"error":"…"}. It ends
// when its input does.

import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { chromium } from "playwright-core";

const browser = await chromium.launch({
  executablePath: process.argv[2],
  headless: true,
  chromiumSandbox: false,
  args: [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

// Each test has a context: a browser of its own as far as a page can tell.
const contexts = new Map();
const pages = new Map();

async function newPage(name, context, viewport, colorScheme) {
  if (!contexts.has(context)) contexts.set(context, browser.newContext());
  const page = await (await contexts.get(context)).newPage();
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme });
  const complaints = [];
  page.on("pageerror", (err) => complaints.push(String(err)));
  page.on("console", (message) => {
    // A request that fails while the server is away is no fault of the page's.
    if (message.type() === "error" && !/net::ERR_|Failed to load resource|WebSocket connection/.test(message.text())) complaints.push(message.text());
  });
  pages.set(name, { page, complaints });
}

async function leave(context) {
  const open = contexts.get(context);
  contexts.delete(context);
  await (await open)?.close();
}

// wait asks until the function, given as text, returns something true. The
// page's content policy forbids what waitForFunction would do.
async function wait({ page }, body, arg) {
  const end = Date.now() + 60_000;
  for (;;) {
    try {
      const result = await page.evaluate(`(${body})(${JSON.stringify(arg)})`);
      if (result) return result;
    } catch (err) {
      if (!/context was destroyed|navigat/i.test(String(err))) throw err;
    }
    if (Date.now() > end) throw new Error("it never became true");
    await setTimeout(30);
  }
}

const commands = {
  goto: ({ page }, url) => page.goto(url, { waitUntil: "load" }).then((answer) => answer.status()),
  reload: ({ page }) => page.reload({ waitUntil: "load" }).then(() => null),
  fill: ({ page }, selector, text) => page.fill(selector, text),
  click: ({ page }, selector) => page.click(selector),
  offline: ({ page }, is) => page.context().setOffline(is),
  press: ({ page }, key) => page.keyboard.press(key),
  wait,
  eval: ({ page }, body, arg) => page.evaluate(`(${body})(${JSON.stringify(arg)})`),
  screenshot: ({ page }, path) => page.screenshot({ path }).then(() => null),
  complaints: ({ complaints }) => complaints,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, page, args } = JSON.parse(line);
  run(id, name, page, args ?? []);
}
await browser.close();

async function run(id, name, page, args) {
  const answer = { id };
  try {
    if (name === "page") await newPage(page, ...args);
    else if (name === "leave") await leave(page);
    else answer.result = (await commands[name](pages.get(page), ...args)) ?? null;
  } catch (err) {
    answer.error = String(err?.message ?? err);
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
