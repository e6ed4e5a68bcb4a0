// Subscriptions: handlers and loops.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../dist/client.js";
import { fakeTime, newNet, record, settle } from "./kit.js";

const event = (channel, data) => ({ type: "event", channel, data, timestamp: "2026-11-24T08:30:02.25Z" });

test("a handler gets its channel's frames as objects, in order, until it leaves", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const got = [];
  const leave = client.subscribe("news", (message) => got.push(message));
  assert.deepEqual(net.last.of("subscribe").map(({ data }) => data), ["news"]);
  net.last.welcome();
  const sent = [event("news", { title: "hello" }), { ...event("news", "x"), type: "process_output", processId: "b", position: "later versions have more" }];
  net.last.say(event("other", 0));
  for (const frame of sent) net.last.say(frame);
  assert.deepEqual(got, sent);
  leave();
  leave();
  assert.deepEqual(net.last.of("unsubscribe").map(({ data }) => data), ["news"]);
  net.last.say(event("news", "late"));
  assert.equal(got.length, 2);
});

test("subscriptions survive, and are sent in one burst before anything else", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = net.client({ queueWhileAway: true });
  const got = [];
  const told = [];
  for (const name of ["a", "b", "c"]) {
    client.subscribe(name, ({ data }) => got.push(data), { onSubscribed: ({ channel, data }) => told.push([channel, data?.local]) });
  }
  client.subscribe("gone", () => {})();
  client.send({ type: "say" });
  client.on("statechange", ({ state }) => state === "connected" && client.send({ type: "early" }));
  client.on("connect", () => client.send({ type: "late" }));
  await settle();
  for (let i = 0; i < 3; i++) {
    net.last.open();
    assert.deepEqual(net.last.sent.map(({ type, data }) => data ?? type).slice(0, 3), ["a", "b", "c"]);
    assert.deepEqual(net.last.sent.slice(3).map(({ type }) => type), i === 0 ? ["say", "early", "late"] : ["early", "late"]);
    net.last.welcome();
    net.last.say(event("b", i));
    net.last.end();
    await pass(10_000);
  }
  assert.deepEqual(got, [0, 1, 2]);
  assert.deepEqual(told, Array(3).fill([["a", undefined], ["b", undefined], ["c", undefined]]).flat());
});

test("onSubscribed comes before the channel's first message, and says where a hub is alone", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const log = [];
  client.subscribe("news", ({ data }) => log.push(data), { onSubscribed: ({ data }) => log.push(data) });
  const [{ id }] = net.last.of("subscribe");
  net.last.say({ type: "subscribed", channel: "news", id, data: { local: true } });
  net.last.say(event("news", 1));
  assert.deepEqual(log, [{ local: true }, 1]);
});

test("many handlers share a channel, and the last one to leave leaves it", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const got = [];
  const told = [];
  const handler = (message) => got.push(message.data);
  const first = client.subscribe("news", handler, { onSubscribed: () => told.push("first") });
  net.last.welcome();
  const second = client.subscribe("news", handler, { onSubscribed: () => told.push("second") });
  net.last.welcome();
  net.last.say(event("news", 1));
  first();
  net.last.say(event("news", 2));
  assert.deepEqual([got, told], [[1, 1, 2], ["first", "second"]]);
  assert.deepEqual(net.last.of("unsubscribe"), []);
  second();
  assert.equal(net.last.of("unsubscribe").length, 1);
});

test("a handler that throws harms no other, and is reported", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const errors = record(client, "error");
  const got = [];
  const thrown = new Error("mine");
  client.subscribe("news", () => { throw thrown; });
  client.subscribe("news", async () => { throw thrown; });
  client.subscribe("news", ({ data }) => got.push(data));
  net.last.say(event("news", 1));
  net.last.say(event("news", 2));
  await settle();
  assert.deepEqual(got, [1, 2]);
  assert.deepEqual(errors.map(([, { code, cause }]) => [code, cause]), Array(4).fill(["handler", thrown]));
});

test("a refusal reaches the handler's onError, and the hub is asked again with the next connection", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const errors = [];
  client.subscribe("board", () => {}, { onError: (error) => errors.push(error) });
  const refuse = (code) => net.last.say({ type: "error", channel: "board", id: net.last.of("subscribe").at(-1).id, data: { code, message: "members only" } });
  refuse("forbidden");
  assert.ok(errors[0] instanceof ClientError);
  assert.deepEqual([errors[0].code, errors[0].message, errors[0].temporary, errors[0].frame.channel], ["forbidden", "members only", false, "board"]);
  await pass(60_000);
  assert.equal(net.sockets[0].of("subscribe").length, 1, "what is forbidden is not asked for again");
  net.last.end();
  await pass(30_000);
  await pass(0);
  net.last.open();
  assert.equal(net.last.of("subscribe").length, 1);
});

test("what is refused for the moment is asked for again, with backoff", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  const log = [];
  client.subscribe("board", () => {}, { onError: ({ code, temporary }) => log.push([code, temporary]), onSubscribed: () => log.push("subscribed") });
  let asked = 1;
  for (const [code, ms] of [["unavailable", 1000], ["internal", 2000], ["rate_limited", 4000]]) {
    net.last.say({ type: "error", channel: "board", id: net.last.of("subscribe").at(-1).id, data: { code, message: "" } });
    await pass(ms - 1);
    assert.equal(net.last.of("subscribe").length, asked, `${code}: asked before ${ms} ms`);
    await pass(1);
    assert.equal(net.last.of("subscribe").length, ++asked, `${code}: not asked after ${ms} ms`);
  }
  // Refused unseen: the hub could not read which frame it was.
  net.last.say({ type: "error", data: { code: "rate_limited", message: "" } });
  await pass(8000);
  assert.equal(net.last.of("subscribe").length, ++asked);
  net.last.welcome();
  await pass(60_000);
  assert.equal(net.last.of("subscribe").length, asked);
  assert.deepEqual(log, [["unavailable", true], ["internal", true], ["rate_limited", true], "subscribed"]);
});

test("a new connection begins the asking anew, and who has left asks no more", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  const leave = client.subscribe("board", () => {});
  const refuse = () => net.last.say({ type: "error", channel: "board", id: net.last.of("subscribe").at(-1).id, data: { code: "unavailable", message: "" } });
  refuse();
  await pass(1000);
  refuse();
  net.last.end();
  await pass(1000);
  net.last.open();
  refuse();
  await pass(1000);
  assert.equal(net.last.of("subscribe").length, 2, "the wait of the connection before goes on");
  refuse();
  leave();
  await pass(60_000);
  assert.equal(net.last.of("subscribe").length, 2, "asked for what was left");
});

test("a handler that another one ends for the same message is not called", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const got = [];
  client.subscribe("news", () => leave());
  const leave = client.subscribe("news", ({ data }) => got.push(data));
  net.last.say(event("news", 1));
  assert.deepEqual(got, []);
});

test("messages of no subscription are events, answers are not", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const log = record(client, "message", "error");
  client.subscribe("news", () => {});
  const frames = [{ type: "event", data: 1 }, event("put there by the server", 2), { type: "of a later version" }];
  for (const frame of [...frames, event("news", 3), { type: "pong" }, { type: "reply", id: "77" }, { type: "unsubscribed", channel: "x" }, { type: "subscribed", channel: "x", id: "99" }]) net.last.say(frame);
  for (const text of ["no json", "null", "[]", '"text"', '{"type":7}', "{}"]) net.last.say(text);
  net.last.say({ type: "error", data: { code: "server_error", message: "maintenance at ten" } });
  net.last.say({ type: "error", data: "in another form" });
  assert.deepEqual(log.slice(0, 3), frames.map((frame) => ["message", frame]));
  assert.deepEqual(log.slice(3).map(([name, { code, message }]) => [name, code, message]), [["error", "server_error", "maintenance at ten"], ["error", "server_error", "server_error"]]);
});

test("an error that is published on a channel is a message of it", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const got = [];
  client.subscribe("news", ({ type }) => got.push(type));
  net.last.say({ type: "error", channel: "news", data: { code: "server_error", message: "" } });
  assert.deepEqual(got, ["error"]);
});

test("an answer that comes after leaving is nobody's", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const told = [];
  client.subscribe("news", () => {}, { onSubscribed: () => told.push("first") })();
  client.subscribe("news", () => {}, { onSubscribed: () => told.push("second") });
  const [first, second] = net.last.of("subscribe");
  assert.deepEqual(net.last.sent.map(({ type }) => type), ["subscribe", "unsubscribe", "subscribe"]);
  net.last.say({ type: "subscribed", channel: "news", id: first.id });
  assert.deepEqual(told, []);
  net.last.say({ type: "subscribed", channel: "news", id: second.id });
  assert.deepEqual(told, ["second"]);
});

test("a refusal that comes after leaving is nobody's, and is no message", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const got = record(client, "message", "error");
  client.subscribe("news", () => {})();
  client.subscribe("news", (message) => got.push(message));
  const [{ id }] = net.last.of("subscribe");
  net.last.say({ type: "error", channel: "news", id, data: { code: "forbidden", message: "no" } });
  assert.deepEqual(got, []);
  net.last.welcome();
  const published = { type: "error", channel: "news", id, data: 1 }; // the same id, but it has been answered
  net.last.say(published);
  assert.deepEqual(got, [published]);
});

test("messages of a subscription that is over reach neither the next one nor the event", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  const log = record(client, "message", "error");
  const got = [];
  const left = () => net.last.say({ type: "unsubscribed", channel: "news", id: net.last.of("unsubscribe").at(-1).id });
  const leave = client.subscribe("news", () => {});
  net.last.welcome();
  leave();
  net.last.say(event("news", "late"));
  const again = client.subscribe("news", ({ data }) => got.push(data));
  net.last.say(event("news", "late"));
  left();
  net.last.welcome();
  net.last.say(event("news", "now"));
  assert.deepEqual(got, ["now"]);
  again();
  net.last.say(event("news", "late"));
  assert.deepEqual(log, []);
  left();
  net.last.say(event("news", "the server's"));
  await pass(100_000);
  assert.deepEqual(log.map(([, { data }]) => data), ["the server's"]);
  assert.deepEqual(net.last.sent.map(({ type }) => type), ["subscribe", "unsubscribe", "subscribe", "unsubscribe"]);
});

test("an unsubscribe that was refused unseen is sent again", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  client.on("error", () => {});
  const leave = client.subscribe("news", () => {});
  net.last.welcome();
  leave();
  net.last.say({ type: "error", data: { code: "rate_limited", message: "" } });
  await pass(1000);
  assert.equal(net.last.of("unsubscribe").length, 2);
  net.last.say({ type: "unsubscribed", channel: "news", id: net.last.of("unsubscribe")[1].id });
  await pass(60_000);
  assert.equal(net.last.of("unsubscribe").length, 2);
});

test("an answer that comes though some frame was refused unseen counts", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  client.on("error", () => {});
  let told = 0;
  client.subscribe("news", () => {}, { onSubscribed: () => told++ });
  net.last.say({ type: "error", data: { code: "rate_limited", message: "" } });
  net.last.welcome();
  assert.equal(told, 1);
  await pass(60_000);
  assert.equal(net.last.of("subscribe").length, 1);
});

test("a refusal that comes after asking again is no message", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected({ pingInterval: -1 });
  client.on("error", () => {});
  const log = [];
  client.subscribe("news", ({ type }) => log.push(type), { onError: ({ code }) => log.push(code) });
  net.last.say({ type: "error", data: { code: "rate_limited", message: "" } });
  await pass(1000);
  const [first, second] = net.last.of("subscribe");
  net.last.say({ type: "error", channel: "news", id: first.id, data: { code: "unavailable" } });
  assert.deepEqual(log, []);
  net.last.say({ type: "error", channel: "news", id: second.id, data: { code: "forbidden" } });
  assert.deepEqual(log, ["forbidden"]);
});

test("reserved types are ignored, on a channel and on none", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const log = record(client, "message", "error");
  client.subscribe("news", (message) => log.push(message));
  net.last.welcome();
  for (const type of ["publish", "presence", "refresh", "welcome", "cancel"]) {
    for (const channel of [undefined, "news", "other"]) net.last.say({ type, channel, data: {} });
  }
  assert.deepEqual(log, []);
  net.last.say({ type: "welcomed" });
  assert.equal(log.length, 1);
});

test("a signal ends a subscription, and one that has aborted begins none", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const control = new AbortController();
  const got = [];
  client.subscribe("news", ({ data }) => got.push(data), { signal: control.signal });
  net.last.say(event("news", 1));
  control.abort();
  net.last.say(event("news", 2));
  client.subscribe("other", () => {}, { signal: control.signal });
  assert.deepEqual(got, [1]);
  assert.deepEqual(net.last.sent.map(({ type, data }) => `${type} ${data}`), ["subscribe news", "unsubscribe news"]);
});

test("names that can't be a channel's are refused at once", async (t) => {
  fakeTime(t);
  const client = newNet(t).client();
  for (const name of ["", "$hub", undefined, 7]) assert.throws(() => client.subscribe(name, () => {}), TypeError);
});

test("a loop gets the messages that came before it and after it, until it is left", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const messages = client.messages("news");
  net.last.say(event("news", 1));
  net.last.say(event("news", 2));
  setImmediate(() => net.last.say(event("news", 3)));
  const got = [];
  for await (const { data } of messages) {
    got.push(data);
    if (data === 3) break;
  }
  assert.deepEqual(got, [1, 2, 3]);
  assert.equal(net.last.of("unsubscribe").length, 1);
  assert.deepEqual(await messages.next(), { value: undefined, done: true });
});

test("a loop survives a lost connection, and ends when the client is closed", async (t) => {
  const pass = fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const got = [];
  const ended = (async () => {
    for await (const { data } of client.messages("news")) got.push(data);
  })();
  net.last.say(event("news", 1));
  net.last.end();
  await pass(1000);
  net.last.open();
  net.last.say(event("news", 2));
  await settle();
  client.close();
  await ended;
  assert.deepEqual(got, [1, 2]);
});

test("a loop's backlog is bounded: it ends with an error, or the oldest is left out", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const ends = client.messages("news", { backlog: 2 });
  const drops = client.messages("news", { backlog: 2, overflow: "dropOldest" });
  for (let i = 0; i < 5; i++) net.last.say(event("news", i));
  const got = [];
  await assert.rejects(async () => {
    for await (const { data } of ends) got.push(data);
  }, { name: "ClientError", code: "overflow" });
  assert.deepEqual([got, ends.dropped], [[0, 1], 1]);
  assert.deepEqual([(await drops.next()).value.data, (await drops.next()).value.data, drops.dropped], [3, 4, 3]);
});

test("a loop throws where its signal aborts, the hub refuses for good, or the client stops", async (t) => {
  fakeTime(t);
  const net = newNet(t);
  const client = await net.connected();
  const control = new AbortController();
  const aborted = client.messages("a", { signal: control.signal });
  const refused = client.messages("b");
  const stopped = client.messages("c");
  const waiting = [aborted.next(), refused.next(), stopped.next(), stopped.next()];
  const reason = new Error("enough");
  control.abort(reason);
  const of = (channel) => net.last.of("subscribe").find(({ data }) => data === channel).id;
  net.last.say({ type: "error", channel: "b", id: of("b"), data: { code: "forbidden", message: "no" } });
  client.on("error", () => {});
  net.last.end(4500);
  await assert.rejects(waiting[0], reason);
  await assert.rejects(waiting[1], { code: "forbidden" });
  await assert.rejects(waiting[2], { code: "stopped" });
  assert.deepEqual(await waiting[3], { value: undefined, done: true });
  assert.throws(() => client.messages("d", { signal: control.signal }), reason);
});
