// A hub that a test plays by hand: WebSockets without a network, and time that
// passes only when the test says so.

import { mock } from "node:test";
import { Client } from "../dist/client.js";

/** Lets promises go on. Not a matter of time: setImmediate is real. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** The sockets of one test, in the order in which they were made. */
export class Net {
  sockets = [];
  clients = [];

  constructor() {
    const net = this;
    this.WebSocket = class extends FakeWebSocket {
      constructor(url, protocols) {
        super(url, protocols);
        net.sockets.push(this);
      }
    };
  }

  /** A client whose waits are as long as they may be, where the test does not say otherwise. */
  client(options = {}) {
    const client = new Client({ url: "ws://hub.test/ws", WebSocket: this.WebSocket, jitter: false, ...options });
    this.clients.push(client);
    return client;
  }

  /** A client that is connected. */
  async connected(options) {
    const client = this.client(options);
    await settle();
    this.last.open();
    return client;
  }

  get last() {
    return this.sockets.at(-1);
  }
}

export class FakeWebSocket {
  readyState = 0;
  bufferedAmount = 0;
  sent = [];
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text) {
    if (this.readyState === 0) throw new Error("send before open");
    if (this.readyState === 1) this.sent.push(JSON.parse(text)); // later ones vanish, as in a browser
  }

  close(code, reason) {
    this.readyState = 2;
    this.closedWith = { code, reason };
  }

  // What the hub does.
  open() {
    this.readyState = 1;
    this.onopen?.({});
  }

  say(frame) {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  end(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** Answers every subscribe that has none yet. */
  welcome() {
    for (const { type, data, id } of this.sent) {
      if (type === "subscribe" && !this.welcomed?.has(id)) {
        (this.welcomed ??= new Set()).add(id);
        this.say({ type: "subscribed", channel: data, id });
      }
    }
  }

  of(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

/** Time by hand, for one test. */
export function fakeTime(t) {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  return async (ms) => {
    mock.timers.tick(ms);
    await settle();
  };
}

/** A new net for one test, whose clients are closed at its end. */
export function newNet(t) {
  const net = new Net();
  t.after(() => net.clients.forEach((client) => client.close()));
  return net;
}

/** What a client tells of, in the order in which it does. */
export function record(client, ...events) {
  const log = [];
  for (const event of events) client.on(event, (detail) => log.push([event, detail]));
  return log;
}
