// Sending and asking, with a connection and without.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../dist/client.js";
import { fakeTime, newNet, record, settle } from "./kit.js";

test("what is sent goes out at once and as it is", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  await client.send({ type: "say", channel: "lobby", data: { text: "hi" } });
  assert.deepEqual(net.last.sent, [{ type: "say", channel: "lobby", data: { text: "hi" } }]);
  const circle = {};
  circle.circle = circle;
  await assert.rejects(client.send({ type: "say", data: circle }), TypeError);
  await assert.rejects(client.request({ type: "say", data: circle }), TypeError);
});

test("sending while away is refused at once", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client();
  for (const promise of [client.send({ type: "say" }), client.request({ type: "say" })]) {
    await assert.rejects(promise, (error) => error instanceof ClientError && error.code === "disconnected" && error.temporary);
  }
  await settle();
  await assert.rejects(client.send({ type: "say" }), { code: "disconnected" });
  net.last.open();
  net.last.readyState = 2; // closing, but not yet closed: a browser would swallow it
  await assert.rejects(client.send({ type: "say" }), { code: "disconnected" });
  net.last.end();
  await pass(1000);
  net.last.open();
  assert.deepEqual(net.last.sent, []);
});

test("a queue keeps what is sent while away, in its order, each with an outcome", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = net.client({ queueWhileAway: true, queueMessages: 3 });
  const log = [];
  const follow = (name, promise) => promise.then(() => log.push(name), ({ code }) => log.push(`${name}: ${code}`));
  follow("a", client.send({ type: "a" }));
  follow("b", client.request({ type: "b" }));
  follow("c", client.send({ type: "c" }));
  follow("d", client.send({ type: "d" }));
  await settle();
  assert.deepEqual(log, ["d: queue_full"]);
  net.last.open();
  assert.deepEqual(net.last.sent.map(({ type }) => type), ["a", "b", "c"]);
  net.last.say({ type: "reply", id: net.last.of("b")[0].id });
  await settle();
  assert.deepEqual(log, ["d: queue_full", "a", "c", "b"]);
});

test("a queue is bounded in bytes, and so is the socket", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client({ queueWhileAway: true, queueBytes: 1000 });
  const frame = { type: "say", data: "x".repeat(600) };
  const first = client.send(frame);
  await assert.rejects(client.send(frame), { code: "queue_full" });
  await settle();
  net.last.open();
  await first;
  net.last.end();
  const again = client.send(frame); // the first has left its room
  await pass(1000);
  net.last.open();
  await again;
  net.last.bufferedAmount = 600;
  await assert.rejects(client.send(frame), { code: "queue_full" });
  await client.send({ type: "small" });
  net.last.bufferedAmount = 0;
  await client.send({ type: "say", data: "x".repeat(2000) }); // longer than the bound, and alone
  assert.equal(net.last.sent.length, 3);
});

test("a queue outlives failed attempts and ends with the client", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client({ queueWhileAway: true, maxRetries: 2 });
  client.on("error", () => {});
  const outcomes = Promise.allSettled([client.send({ type: "a" }), client.request({ type: "b" }, { timeout: -1 })]);
  await settle();
  for (let i = 0; i < 3; i++) {
    net.last.end();
    await pass(5000);
  }
  assert.deepEqual((await outcomes).map(({ reason }) => reason.code), ["stopped", "stopped"]);
  await assert.rejects(client.send({ type: "c" }), { code: "stopped" });
  client.connect();
  const kept = client.send({ type: "d" });
  await settle();
  net.last.open();
  await kept;
  client.close();
  await assert.rejects(client.send({ type: "e" }), { code: "closed" });
});

test("a request resolves with its reply, and is rejected with the hub's error", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const good = client.request({ type: "add", data: [1, 2], id: "mine" });
  const bad = client.request({ type: "add", data: "x" });
  const ping = client.request({ type: "ping" });
  const [a, b, p] = net.last.sent;
  assert.equal(new Set([a.id, b.id, p.id, "mine"]).size, 4);
  net.last.say({ type: "error", id: b.id, data: { code: "not_numbers", message: "add takes numbers" } });
  net.last.say({ type: "event", channel: "between" });
  net.last.say({ type: "reply", id: a.id, data: 3, timestamp: "2026-11-24T08:30:02.25Z" });
  net.last.say({ type: "pong", id: p.id });
  assert.deepEqual(await good, { type: "reply", id: a.id, data: 3, timestamp: "2026-11-24T08:30:02.25Z" });
  await assert.rejects(bad, { name: "ClientError", code: "not_numbers", message: "add takes numbers", temporary: false });
  assert.equal((await ping).type, "pong");
});

test("a message with the id of a request is no answer to it", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  client.on("error", () => {});
  const got = record(client, "message");
  const told = [];
  client.subscribe("news", (message) => got.push(message), { onSubscribed: () => told.push("subscribed"), onError: () => told.push("refused") });
  const asked = client.request({ type: "say" });
  const [subscribe, { id }] = net.last.sent;
  const messages = [
    { type: "event", channel: "news", id },
    { type: "error", channel: "news", id },
    { type: "event", channel: "news", id: subscribe.id },
    { type: "error", channel: "other", id: subscribe.id },
    { type: "event", id: subscribe.id },
  ];
  for (const frame of messages) net.last.say(frame);
  assert.deepEqual(told, []);
  assert.deepEqual(got.map((one) => (Array.isArray(one) ? "event" : one.type)), ["event", "error", "event", "event"]);
  net.last.welcome();
  assert.deepEqual(told, ["subscribed"]);
  net.last.say({ type: "accepted", id }); // an OnMessage answers with any type
  assert.equal((await asked).type, "accepted");
});

test("an application that subscribes by a request gets its answer", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const joined = client.request({ type: "subscribe", data: "a" });
  const refused = client.request({ type: "subscribe", data: "b" });
  const [a, b] = net.last.sent;
  net.last.say({ type: "subscribed", channel: "a", id: a.id });
  net.last.say({ type: "error", channel: "b", id: b.id, data: { code: "forbidden" } });
  assert.equal((await joined).channel, "a");
  await assert.rejects(refused, { code: "forbidden" });
});

test("a request ends in time, by default after ten seconds", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  const outcomes = [];
  const follow = (name, options) => client.request({ type: name }, options).catch(({ code }) => outcomes.push(`${name}: ${code}`));
  follow("default");
  follow("short", { timeout: 50 });
  follow("endless", { timeout: -1 });
  follow("longer than a timer", { timeout: 2 ** 31 });
  follow("without end", { timeout: Infinity });
  await pass(49);
  assert.deepEqual(outcomes, []);
  await pass(1);
  await pass(9949);
  assert.deepEqual(outcomes, ["short: timeout"]);
  await pass(1);
  await pass(1_000_000);
  assert.deepEqual(outcomes, ["short: timeout", "default: timeout"]);
  net.last.say({ type: "reply", id: net.last.of("short")[0].id }); // late, and nobody's
  net.last.end();
  await settle();
  assert.deepEqual(outcomes.slice(2), ["endless: lost", "longer than a timer: lost", "without end: lost"]);
});

test("what waits in the queue for an answer can be called back, by time and by signal", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client({ queueWhileAway: true, queueMessages: 2 });
  const control = new AbortController();
  const reason = new Error("changed my mind");
  const late = client.request({ type: "late" }, { timeout: 10 });
  const aborted = client.request({ type: "aborted" }, { signal: control.signal });
  control.abort(reason);
  await assert.rejects(aborted, reason);
  const wanted = assert.rejects(late, { code: "timeout" });
  await pass(10);
  await wanted;
  const kept = client.send({ type: "kept" }); // there is room again
  await settle();
  net.last.open();
  await kept;
  assert.deepEqual(net.last.sent.map(({ type }) => type), ["kept"]);
  await assert.rejects(client.request({ type: "x" }, { signal: control.signal }), reason);
  assert.equal(net.last.sent.length, 1);
});

test("a request that has been answered no longer listens to its signal", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const listening = new Set();
  const signal = { aborted: false, throwIfAborted() {}, addEventListener: (_, f) => listening.add(f), removeEventListener: (_, f) => listening.delete(f) };
  const asked = client.request({ type: "a" }, { signal });
  assert.equal(listening.size, 1);
  net.last.say({ type: "reply", id: net.last.sent[0].id });
  await asked;
  assert.equal(listening.size, 0);
});

test("a lost connection leaves no request without an outcome, and sends none twice", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ queueWhileAway: true });
  const asked = client.request({ type: "a" }, { timeout: -1 });
  net.last.end(1012, '{"reconnectAfterMs":0}');
  await assert.rejects(asked, (error) => error.code === "lost" && error.closeCode === 1012 && error.temporary);
  const queued = client.request({ type: "b" }, { timeout: -1 });
  await pass(0);
  net.last.open();
  assert.deepEqual(net.last.sent.map(({ type }) => type), ["b"]);
  net.last.say({ type: "reply", id: net.last.sent[0].id });
  await queued;
});
