// Whether the hub lives, what a page knows of its network, and the client's end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../dist/client.js";
import { fakeTime, newNet, record, settle } from "./kit.js";

test("a hub that is silent is asked, and is gone where it does not answer", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const log = record(client, "disconnect");
  await pass(19_999);
  assert.deepEqual(net.last.sent, []);
  await pass(1);
  assert.deepEqual(net.last.sent, [{ type: "ping" }]);
  await pass(9_999);
  net.last.say({ type: "pong" });
  await pass(19_999);
  net.last.say({ type: "event", data: 1 }); // any frame is life
  await pass(19_999);
  assert.equal(net.last.sent.length, 1);
  await pass(1);
  assert.equal(net.last.sent.length, 2);
  await pass(9_999);
  assert.equal(client.state, "connected");
  await pass(1);
  assert.deepEqual(log, [["disconnect", { code: 1006, reason: "the hub has fallen silent", retryIn: 1000 }]]);
  assert.ok(net.last.closedWith, "the dead socket is left open");
  await pass(1000);
  assert.equal(net.sockets.length, 2);
});

test("what the dead socket still says is not heard", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: 100, pongTimeout: 100 });
  const log = record(client, "message", "disconnect");
  await pass(100);
  await pass(100);
  const dead = net.last;
  dead.say({ type: "event", data: 1 });
  dead.end(1000);
  assert.equal(log.length, 1);
  await pass(1000);
  assert.equal(net.sockets.length, 2);
});

test("no pings with a negative interval", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  await pass(1_000_000);
  assert.deepEqual([net.last.sent, client.state], [[], "connected"]);
});

/** A page, as far as the client looks at one. */
function fakePage(t) {
  const page = new EventTarget();
  const document = new EventTarget();
  const counts = { listeners: 0 };
  for (const target of [page, document]) {
    const { addEventListener, removeEventListener } = EventTarget.prototype;
    target.addEventListener = (...args) => (counts.listeners++, addEventListener.apply(target, args));
    target.removeEventListener = (...args) => (counts.listeners--, removeEventListener.apply(target, args));
  }
  document.visibilityState = "visible";
  const navigator = { onLine: true };
  const globals = { document, navigator, addEventListener: page.addEventListener, removeEventListener: page.removeEventListener };
  const before = Object.fromEntries(Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]));
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    for (const [name, was] of Object.entries(before)) {
      if (was) Object.defineProperty(globalThis, name, was);
      else delete globalThis[name];
    }
  });
  return {
    counts,
    online: () => ((navigator.onLine = true), page.dispatchEvent(new Event("online"))),
    offline: () => ((navigator.onLine = false), page.dispatchEvent(new Event("offline"))),
    show: () => page.dispatchEvent(new Event("pageshow")),
    look: (state) => ((document.visibilityState = state), document.dispatchEvent(new Event("visibilitychange"))),
  };
}

test("a page that is back comes back at once", async (t) => {
  const pass = fakeTime(t);
  const page = fakePage(t);
  const net = newNet(t);
  await net.connected();
  for (const [name, back] of [["online", page.online], ["visible", () => page.look("visible")], ["pageshow", page.show]]) {
    const before = net.sockets.length;
    net.last.end();
    await settle();
    page.look("hidden");
    await settle();
    assert.equal(net.sockets.length, before, "a page that hides has no reason to hurry");
    back();
    await settle();
    assert.equal(net.sockets.length, before + 1, `${name} does not bring it back`);
    back();
    await settle();
    assert.equal(net.sockets.length, before + 1, `${name} begins a second attempt beside the first`);
  }
  // The waits that were cut short are over, and the attempt goes on.
  await pass(9_999);
  assert.equal(net.sockets.length, 4);
});

test("a page that is back asks a hub whether it lives, at once", async (t) => {
  const pass = fakeTime(t);
  const page = fakePage(t);
  const net = newNet(t);
  const client = await net.connected();
  for (const happens of [page.offline, page.online, page.show, () => page.look("visible")]) {
    net.last.sent.length = 0;
    happens();
    happens();
    assert.deepEqual(net.last.sent, [{ type: "ping" }]);
    net.last.say({ type: "pong" });
  }
  page.look("hidden");
  assert.equal(net.last.sent.length, 1);
  page.offline();
  await pass(10_000);
  assert.equal(client.state, "disconnected");
});

test("online begins the backoff anew, and attempts while offline don't use up the retries", async (t) => {
  const pass = fakeTime(t);
  const page = fakePage(t);
  const net = newNet(t);
  const client = net.client({ maxRetries: 1 });
  const waits = [];
  client.on("error", () => {});
  client.on("statechange", ({ state, retryIn }) => state === "disconnected" && waits.push(retryIn));
  page.offline();
  await settle();
  for (let i = 0; i < 3; i++) {
    net.last.end();
    await pass(waits.at(-1));
  }
  page.online();
  net.last.end();
  await pass(1000);
  net.last.end();
  assert.deepEqual(waits, [1000, 2000, 4000, 1000, undefined]);
});

test("close leaves nothing behind", async (t) => {
  const pass = fakeTime(t);
  const page = fakePage(t);
  const timers = new Set();
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  globalThis.setTimeout = (what, ms) => {
    const timer = set(() => (timers.delete(timer), what()), ms);
    timers.add(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => (timers.delete(timer), clear(timer));
  const listening = new Set();
  const signal = { aborted: false, throwIfAborted() {}, addEventListener: (_, f) => listening.add(f), removeEventListener: (_, f) => listening.delete(f) };
  const net = newNet(t);
  const at = {
    "before the first attempt": () => {},
    "in getToken": () => settle(),
    connected: async () => (await settle(), net.last.open()),
    "being asked": async () => (await settle(), net.last.open(), page.show()),
    "waiting": async () => (await settle(), net.last.open(), net.last.end()),
    "refused for the moment": async () => {
      await settle();
      net.last.open();
      const { id } = net.last.of("subscribe")[0];
      net.last.say({ type: "error", id, channel: "a", data: { code: "unavailable" } });
    },
    "stopped": async () => (await settle(), net.last.open(), net.last.end(4500)),
  };
  for (const [name, reach] of Object.entries(at)) {
    const client = net.client({ signal, queueWhileAway: true, getToken: name === "in getToken" ? () => new Promise(() => {}) : undefined });
    client.on("error", () => {});
    client.subscribe("a", () => {}, { signal });
    client.on("message", () => {}, { signal });
    const loop = client.messages("b", { signal }).next();
    loop.catch(() => {});
    const asked = client.request({ type: "x" }, { signal }).catch(({ code }) => code);
    await reach();
    assert.ok(page.counts.listeners > 0 && listening.size > 0, "the test sees no listeners");
    client.close();
    client.close();
    assert.deepEqual([timers.size, page.counts.listeners], [0, 0], `${name}: timers and listeners of the page`);
    const sockets = net.sockets.length;
    assert.match(await asked, /closed|stopped|lost/);
    if (name !== "stopped") assert.deepEqual(await loop, { value: undefined, done: true }, name);
    await pass(100_000);
    page.online();
    client.connect();
    await settle();
    assert.deepEqual([net.sockets.length, timers.size, client.state], [sockets, 0, "disconnected"], name);
    assert.throws(() => client.subscribe("c", () => {}), { code: "closed" });
    assert.equal(listening.size, 0, `${name}: listeners of the signal`);
  }
});

test("close may be called by any handler", async (t) => {
  const pass = fakeTime(t);
  for (const name of ["statechange", "connect", "message", "disconnect", "error", "subscription", "onSubscribed"]) {
    const net = newNet(t);
    const client = net.client();
    if (name === "subscription") client.subscribe("a", () => client.close());
    else if (name === "onSubscribed") client.subscribe("a", () => {}, { onSubscribed: () => client.close() });
    else client.on(name, () => client.close());
    client.on("error", () => {});
    client.subscribe("a", () => {});
    await settle();
    if (name !== "statechange") {
      net.last.open();
      net.last.welcome();
      net.last.say({ type: "event", channel: "a" });
      net.last.say({ type: "event" });
      net.last.say({ type: "error", data: { code: "server_error" } });
      net.last.end();
    }
    await pass(100_000);
    assert.deepEqual([client.state, net.sockets.length], ["disconnected", name === "statechange" ? 0 : 1], name);
  }
});

test("close inside getToken, or when its signal aborts, leaves nothing running", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const inside = net.client({ getToken: () => (inside.close(), "token") });
  const aborted = net.client({
    getToken: ({ signal }) => {
      signal.addEventListener("abort", () => aborted.close());
      return new Promise(() => {});
    },
  });
  const log = record(aborted, "statechange", "error");
  await settle();
  const { setTimeout: set } = globalThis; // fakeTime puts the real one back
  let timers = 0;
  globalThis.setTimeout = (...args) => (timers++, set(...args));
  await pass(10_000);
  await pass(100_000);
  assert.equal(timers, 0, "timers after close");
  assert.deepEqual([net.sockets.length, inside.state, aborted.state], [0, "disconnected", "disconnected"]);
  assert.deepEqual(log.map(([, { state }]) => state), ["connecting", "disconnected"]);
});

test("a socket that closes while it is given something leaves the client disconnected", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client();
  const log = record(client, "connect", "statechange");
  client.subscribe("a", () => {});
  await settle();
  net.last.send = function () {
    this.end();
  };
  net.last.open();
  assert.equal(client.state, "disconnected");
  await pass(1000);
  net.last.open();
  assert.deepEqual(log.map(([name, { state }]) => state ?? name), ["connecting", "disconnected", "connecting", "connected", "connect"]);
});

test("a signal closes the client", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const control = new AbortController();
  const client = await net.connected({ signal: control.signal });
  control.abort();
  assert.equal(client.state, "disconnected");
  assert.deepEqual(net.last.closedWith, { code: 1000, reason: undefined });
  net.client({ signal: control.signal });
  await pass(60_000);
  assert.equal(net.sockets.length, 1);
});

test("the token is put where it belongs", async (t) => {
  fakeTime(t);
  const token = "a b&c=d/é";
  for (const [options, want] of [
    [{ url: "wss://hub.test/ws?room=1#here" }, "wss://hub.test/ws?room=1&token=a+b%26c%3Dd%2F%C3%A9"],
    [{ url: new URL("https://hub.test/ws"), tokenParameter: "ticket" }, "wss://hub.test/ws?ticket=a+b%26c%3Dd%2F%C3%A9"],
    [{ url: async (token) => `http://hub.test/${encodeURIComponent(token)}/ws` }, "ws://hub.test/a%20b%26c%3Dd%2F%C3%A9/ws"],
    [{ url: "ws://hub.test/ws", getToken: () => undefined }, "ws://hub.test/ws"],
  ]) {
    const net = newNet(t);
    net.client({ getToken: () => token, ...options });
    await settle();
    assert.equal(net.last.url, want);
    assert.deepEqual(net.last.protocols, ["go-ws.v1.json"]);
  }
});

test("a page's own address is what a URL is relative to", async (t) => {
  fakeTime(t);
  Object.defineProperty(globalThis, "location", { value: { href: "https://example.com/app/page?x#y" }, configurable: true });
  t.after(() => delete globalThis.location);
  for (const [url, want] of [["/ws", "wss://example.com/ws"], ["ws", "wss://example.com/app/ws"], ["//other.test/ws", "wss://other.test/ws"]]) {
    const net = newNet(t);
    net.client({ url });
    await settle();
    assert.equal(net.last.url, want);
  }
});

test("options that can't work are refused by their name", (t) => {
  const net = newNet(t);
  const good = { url: "ws://hub.test/ws", WebSocket: net.WebSocket };
  for (const [options, name] of [
    [{ url: "" }, "url"], [{ url: undefined }, "url"],
    [{ initialBackoff: -1 }, "initialBackoff"], [{ initialBackoff: "1s" }, "initialBackoff"], [{ maxBackoff: NaN }, undefined],
    [{ maxBackoff: 10 }, "maxBackoff"], [{ backoffMultiplier: 0.5 }, "backoffMultiplier"], [{ maxRetries: -1 }, "maxRetries"],
    [{ pongTimeout: 2 ** 31 }, "pongTimeout"], [{ queueBytes: Infinity }, "queueBytes"], [{ WebSocket: undefined }, "WebSocket"],
  ]) {
    const make = () => new Client({ ...good, ...options });
    if (name === undefined || (name === "WebSocket" && globalThis.WebSocket)) make().close();
    else assert.throws(make, (error) => error instanceof TypeError && error.message.includes(name), JSON.stringify(options));
  }
  for (const [url, message] of [
    ["/ws", 'go-ws client: url "/ws" is relative, which only works in a page'],
    ["not a url", 'go-ws client: url "not a url" is relative, which only works in a page'],
    ["ws://", 'go-ws client: url "ws://" is no URL'],
  ]) {
    for (const more of [{}, { WebSocket: undefined }, { initialBackoff: -1 }]) assert.throws(() => new Client({ ...good, ...more, url }), { name: "TypeError", message });
  }
  if (!globalThis.WebSocket) assert.throws(() => new Client({ url: good.url }), /^TypeError: go-ws client: WebSocket is needed, .* pass that of the npm package ws$/);
});

test("zero is the default", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  await net.connected({ initialBackoff: 0, pingInterval: 0, pongTimeout: 0, backoffMultiplier: 0 });
  await pass(20_000);
  assert.equal(net.last.sent.length, 1);
});
