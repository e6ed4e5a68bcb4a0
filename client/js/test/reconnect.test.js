// Coming back: when, and when not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../dist/client.js";
import { fakeTime, newNet, record, settle } from "./kit.js";

/** Wants the next attempt after exactly so many milliseconds. */
async function wantAttemptAfter(net, pass, ms, what) {
  const before = net.sockets.length;
  if (ms > 0) {
    await pass(ms - 1);
    assert.equal(net.sockets.length, before, `${what}: an attempt before ${ms} ms had passed`);
    await pass(1);
  } else await pass(0);
  assert.equal(net.sockets.length, before + 1, `${what}: attempts after ${ms} ms`);
}

test("waits double from the initial backoff to the maximum, to the millisecond", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  net.client();
  await settle();
  for (const ms of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
    net.last.end();
    await wantAttemptAfter(net, pass, ms, "failure");
  }
});

test("initial backoff, maximum and multiplier are the options'", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  net.client({ initialBackoff: 100, maxBackoff: 800, backoffMultiplier: 3 });
  await settle();
  for (const ms of [100, 300, 800, 800]) {
    net.last.end();
    await wantAttemptAfter(net, pass, ms, "failure");
  }
});

test("jitter takes each wait at random between zero and the longest", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const chance = t.mock.method(Math, "random", () => 0.25);
  net.client({ jitter: undefined });
  await settle();
  for (const [random, ms] of [[0.25, 250], [0, 0], [0.999999, 4000], [0.5, 4000]]) {
    chance.mock.mockImplementation(() => random);
    net.last.end();
    await wantAttemptAfter(net, pass, ms, `random ${random}`);
  }
});

test("waits are spread over the whole range", async (t) => {
  fakeTime(t);
  const waits = [];
  for (let i = 0; i < 400; i++) {
    const net = newNet(t);
    const client = net.client({ jitter: true });
    await settle();
    client.on("statechange", ({ retryIn }) => waits.push(retryIn));
    net.last.end();
  }
  assert.ok(waits.every((ms) => Number.isInteger(ms) && ms >= 0 && ms <= 1000), `waits: ${waits}`);
  // Each tenth of the range has 40 in the mean; that one has none happens once in 10^17 runs.
  for (let tenth = 0; tenth < 10; tenth++) {
    assert.ok(waits.some((ms) => Math.min(9, Math.floor(ms / 100)) === tenth), `no wait from ${tenth * 100} ms on`);
  }
});

test("the backoff begins anew once a connection has lasted, and not before", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  await net.connected();
  for (const [held, ms] of [[9_999, 1000], [9_999, 2000], [10_000, 1000], [0, 2000]]) {
    await pass(held);
    net.last.end();
    await wantAttemptAfter(net, pass, ms, `after ${held} ms of connection`);
    net.last.open();
  }
});

test("a client stops after maxRetries attempts in vain, the first one not counted", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client({ maxRetries: 2 });
  const log = record(client, "error");
  await settle();
  for (let i = 0; i < 3; i++) {
    net.last.end();
    await pass(60_000);
  }
  assert.equal(net.sockets.length, 3);
  assert.equal(client.state, "disconnected");
  const error = log.at(-1)[1];
  assert.ok(error instanceof ClientError);
  assert.deepEqual([log.length, error.code, error.temporary, error.cause.code], [3, "stopped", false, "unreachable"]);
  client.connect();
  await settle();
  assert.equal(net.sockets.length, 4, "connect starts a stopped client anew");
});

test("retries count anew after a connection that has lasted", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ maxRetries: 1 });
  for (let i = 0; i < 5; i++) {
    await pass(10_000);
    net.last.end();
    await pass(1000);
    net.last.open();
  }
  assert.equal(client.state, "connected");
});

test("a hub's hint is obeyed, whatever the backoff is", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  await net.connected({ maxServerDelay: 50_000 });
  for (const [reason, ms] of [
    ['{"reason":"restart","reconnectAfterMs":2317}', 2317],
    ['{"reconnectAfterMs":0,"more":[1]}', 0],
    ['{"reconnectAfterMs":1e12}', 50_000],
    // No hints: the backoff is in its fourth step and goes on.
    ["", 8000],
    ["going down", 16_000],
    ['{"reconnectAfterMs":-5}', 30_000],
    ['{"reconnectAfterMs":"10"}', 30_000],
    ["null", 30_000],
  ]) {
    net.last.end(1012, reason);
    await wantAttemptAfter(net, pass, ms, `reason ${reason}`);
    net.last.open();
  }
  net.last.end(1011, '{"reconnectAfterMs":5}');
  await wantAttemptAfter(net, pass, 30_000, "a hint with another code");
});

test("close codes that mean stay away stop the client, the others don't", async (t) => {
  const pass = fakeTime(t);
  const stay = [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4999];
  const come = [1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 3000, 4000, 4001, 4002, 4003, 4004, 4499];
  for (const code of [...stay, ...come]) {
    const net = newNet(t);
    const client = await net.connected();
    const log = record(client, "statechange", "disconnect", "error");
    net.last.end(code, "because");
    const [state, gone, stopped] = log.map(([, detail]) => detail);
    assert.equal(state.state, "disconnected");
    assert.deepEqual([gone.code, gone.reason], [code, "because"]);
    await pass(1000);
    if (stay.includes(code)) {
      assert.equal(net.sockets.length, 1, `came back after ${code}`);
      assert.deepEqual([state.retryIn, state.error.code, state.error.closeCode, stopped.code], [undefined, "stopped", code, "stopped"], `${code}`);
    } else {
      assert.equal(net.sockets.length, 2, `did not come back after ${code}`);
      assert.deepEqual([state.error.code, state.error.closeCode, stopped], ["lost", code, undefined], `${code}`);
    }
  }
});

test("expired credentials are renewed at once, but once", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const asked = [];
  await net.connected({ getToken: ({ last }) => (asked.push(last?.closeCode), `token ${asked.length}`) });
  net.last.end(4001);
  await wantAttemptAfter(net, pass, 0, "expired");
  net.last.open();
  net.last.end(4001);
  await wantAttemptAfter(net, pass, 2000, "expired again");
  assert.deepEqual(asked, [undefined, 4001, 4001]);
  assert.deepEqual(net.sockets.map(({ url }) => url), ["token+1", "token+2", "token+3"].map((token) => `ws://hub.test/ws?token=${token}`));
  for (let i = 0; i < 2; i++) {
    net.last.open();
    await pass(10_000);
    net.last.end(4001);
    await wantAttemptAfter(net, pass, 0, "expired after a while");
  }
});

test("a token that can't be had is a failed attempt, and one that can never be had stops the client", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  let failure = new Error("the session server is away");
  const client = net.client({ getToken: async () => { throw failure; } });
  const log = record(client, "error");
  await settle();
  assert.equal(log[0][1].code, "credentials");
  assert.equal(log[0][1].cause, failure);
  failure = new ClientError("stopped", "logged out");
  await pass(1000);
  assert.equal(log[1][1].code, "stopped");
  await pass(60_000);
  assert.deepEqual([log.length, net.sockets.length], [2, 0]);
});

test("an attempt that takes too long is given up, in getToken too", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  let signal;
  let answer = new Promise(() => {});
  const client = net.client({ handshakeTimeout: 3000, getToken: (attempt) => ((signal = attempt.signal), answer) });
  await settle();
  await pass(2999);
  assert.deepEqual([client.state, signal.aborted], ["connecting", false]);
  await pass(1);
  assert.deepEqual([client.state, signal.aborted, net.sockets.length], ["disconnected", true, 0]);
  answer = "t";
  await pass(1000);
  assert.deepEqual([client.state, net.sockets.length], ["connecting", 1]);
  await pass(3000);
  assert.equal(client.state, "disconnected");
  assert.ok(net.last.closedWith, "the socket of the attempt is left open");
  net.last.open(); // late, and nobody's any more
  assert.equal(client.state, "disconnected");
});

test("a WebSocket that can't be made stops the client", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const cause = new Error("an insecure WebSocket connection may not be initiated from a page loaded over HTTPS");
  class Forbidden {
    constructor() {
      throw cause;
    }
  }
  const client = net.client({ WebSocket: Forbidden });
  const log = record(client, "error");
  await settle();
  await pass(60_000);
  assert.deepEqual(log.map(([, error]) => [error.code, error.cause.cause]), [["stopped", cause]]);
});

test("connect cuts a wait short, and leaves a connection alone", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  client.connect();
  await settle();
  assert.equal(net.sockets.length, 1);
  net.last.end();
  client.connect();
  client.connect();
  await settle();
  assert.equal(net.sockets.length, 2);
  net.last.open();
  net.last.end();
  await wantAttemptAfter(net, pass, 2000, "beside a wait of 1000 ms that was cut short");
});

test("states and events come in their order", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client();
  assert.equal(client.state, "disconnected");
  const log = [];
  for (const name of ["statechange", "connect", "reconnect", "disconnect"]) {
    client.on(name, (detail) => log.push(name === "statechange" ? `${detail.previous} > ${detail.state}` : `${name} ${JSON.stringify(detail)}`));
  }
  await settle();
  net.last.end();
  await pass(1000);
  net.last.open();
  net.last.end(1006, "");
  await pass(2000);
  net.last.end();
  await pass(4000);
  net.last.open();
  client.close();
  assert.deepEqual(log, [
    "disconnected > connecting", "connecting > disconnected",
    "disconnected > connecting", "connecting > connected", 'connect {"attempt":2}',
    "connected > disconnected", 'disconnect {"code":1006,"reason":"","retryIn":2000}',
    "disconnected > connecting", "connecting > disconnected",
    "disconnected > connecting", "connecting > connected", 'connect {"attempt":2}', 'reconnect {"attempt":2}',
    "connected > disconnected", 'disconnect {"code":1000,"reason":"closed by the client"}',
  ]);
});

test("a handler that throws harms nobody else", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = net.client();
  const heard = [];
  const thrown = new Error("mine");
  client.on("connect", () => { throw thrown; });
  client.on("connect", async () => { throw thrown; });
  client.on("connect", () => heard.push("connect"));
  client.on("error", () => { throw thrown; });
  client.on("error", (error) => heard.push(error));
  const printed = t.mock.method(console, "error", () => {});
  await settle();
  net.last.open();
  await settle();
  assert.equal(heard[0].code, "handler");
  assert.equal(heard[0].cause, thrown);
  assert.deepEqual([heard.length, heard[1], heard[2].cause], [3, "connect", thrown]);
  assert.equal(client.state, "connected");
  assert.deepEqual(printed.mock.calls.map((call) => call.arguments[0]), [thrown, thrown], "an error handler's own error goes to the console");
});
