// Against a real hub, with the WebSocket of the package ws: the gateway of the
// examples, on a port of its own.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { Client } from "../dist/client.js";

const here = fileURLToPath(new URL("..", import.meta.url));
let folder;
let binary;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "client-js-"));
  binary = join(folder, "gateway");
  execFileSync("go", ["build", "-o", binary, "./gateway"], { cwd: join(here, "../../examples"), env: { ...process.env, GOWORK: "off" }, stdio: "inherit" });
});
after(() => rmSync(folder, { recursive: true }));

/** A program that prints a line "listening on URL". */
class Gateway {
  static async start(t, ...flags) {
    const gateway = new Gateway();
    gateway.process = spawn(binary, ["-addr", "127.0.0.1:0", "-log-level", "error", "-drain-spread", "100ms", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
    gateway.ended = new Promise((resolve) => gateway.process.once("exit", resolve));
    t.after(() => gateway.kill());
    process.once("exit", () => gateway.kill());
    for await (const line of createInterface({ input: gateway.process.stdout })) {
      const [, url] = line.match(/^listening on (.*)$/) ?? [];
      if (url) return Object.assign(gateway, { url, addr: new URL(url).host, ws: `${url}/ws` });
    }
    throw new Error("the gateway ended before it listened");
  }

  /** As a service manager does it: clients are told to come back. */
  stop() {
    this.process.kill("SIGTERM");
    return this.ended;
  }

  kill() {
    this.process.kill("SIGKILL");
    return this.ended;
  }

  async publish(channel, data) {
    const answer = await fetch(`${this.url}/publish`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ channel, data }) });
    assert.equal(answer.status, 200);
  }
}

function newClient(t, options) {
  const client = new Client({ WebSocket, initialBackoff: 50, maxBackoff: 200, ...options });
  t.after(() => client.close());
  return client;
}

/** The next event of a name. */
const next = (client, name) => new Promise((resolve) => {
  const off = client.on(name, (detail) => (off(), resolve(detail)));
});

const long = { timeout: 60_000 };

test("messages arrive, through restarts and crashes of the gateway", long, async (t) => {
  let gateway = await Gateway.start(t);
  const client = newClient(t, { url: () => gateway.ws });
  const got = [];
  const times = [];
  let subscribed;
  const live = () => new Promise((resolve) => (subscribed = resolve));
  let isLive = live();
  client.subscribe("news", ({ data }) => got.push(data), { onSubscribed: () => subscribed() });
  client.on("disconnect", ({ code }) => times.push(code));
  const messages = client.messages("news");
  for (let i = 0; i < 4; i++) {
    await isLive;
    await gateway.publish("news", i);
    assert.equal((await messages.next()).value.data, i);
    isLive = live();
    await (i % 2 ? gateway.kill() : gateway.stop());
    gateway = await Gateway.start(t); // on another port: the old one may be somebody else's by now
  }
  await isLive;
  assert.deepEqual(got, [0, 1, 2, 3]);
  assert.deepEqual(times, [1012, 1006, 1012, 1006]);
});

test("requests are answered, by a pong and by errors of the hub", long, async (t) => {
  const gateway = await Gateway.start(t);
  const client = newClient(t, { url: gateway.ws });
  await next(client, "connect");
  assert.equal((await client.request({ type: "ping" })).type, "pong");
  await assert.rejects(client.request({ type: "say", data: 1 }), { name: "ClientError", code: "unknown_type" });
});

test("a hub that refuses the credentials is asked again with new ones", long, async (t) => {
  const gateway = await Gateway.start(t, "-api-keys", "sesame=ann");
  const tokens = ["wrong", undefined, "sesame"];
  const client = newClient(t, { url: gateway.ws, getToken: () => tokens.shift() });
  const failures = [];
  client.on("error", ({ code }) => failures.push(code));
  const { attempt } = await next(client, "connect");
  assert.deepEqual([attempt, failures], [3, ["unreachable", "unreachable"]]);
});

test("a hub that is frozen is noticed, and left for when it is back", long, async (t) => {
  const gateway = await Gateway.start(t);
  const client = newClient(t, { url: gateway.ws, pingInterval: 100, pongTimeout: 1000 });
  await next(client, "connect");
  gateway.process.kill("SIGSTOP");
  const { code, reason } = await next(client, "disconnect");
  assert.deepEqual([code, reason], [1006, "the hub has fallen silent"]);
  gateway.process.kill("SIGCONT");
  await next(client, "reconnect");
});

test("a closed client lets the program end", long, async (t) => {
  const gateway = await Gateway.start(t);
  // Closed while it connects, when it is connected, and while it waits.
  for (const [when, url] of [["connecting", gateway.ws], ["connected", gateway.ws], ["disconnected", "ws://127.0.0.1:1/ws"]]) {
    const program = `
      import WebSocket from "ws";
      import { Client } from "go-ws-client";
      const client = new Client({ url: ${JSON.stringify(url)}, WebSocket });
      client.subscribe("news", () => {});
      client.on("statechange", ({ state }) => state === "${when}" && setImmediate(() => client.close()));`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { cwd: here, stdio: "inherit" });
    t.after(() => child.kill("SIGKILL"));
    assert.equal(await new Promise((resolve) => child.once("exit", resolve)), 0, when);
  }
});

test("the first program of the documents runs as it stands there", long, async (t) => {
  const text = readFileSync(join(here, "../../docs/clients.md"), "utf8");
  const [, program] = text.slice(text.indexOf("## JavaScript")).match(/```js\n(.*?)```/s);
  assert.ok(program.split("\n").length - 1 < 15, "it has 15 lines or more");
  const gateway = await Gateway.start(t);
  // In the package's folder, whose name it imports.
  const file = join(here, "dist", "first-program.mjs");
  writeFileSync(file, program.replace("127.0.0.1:8080", gateway.addr));
  const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(file);
  });
  const wanted = ["connecting", "connected", "subscribed", "{ title: 'hello' }"];
  for await (const line of createInterface({ input: child.stdout })) {
    assert.equal(line, wanted.shift());
    if (line === "subscribed") await gateway.publish("news", { title: "hello" });
    if (wanted.length === 0) return;
  }
  assert.fail("it ended by itself");
});
