// go-ws client for browsers and Node.js, Apache-2.0. Built from client/js of go-ws.

// src/backoff.ts
var finals = /^(100[023789]|4[5-9]..)$/;
var isFinal = (code) => finals.test(String(code));
function backoff(s, failures) {
  const longest2 = Math.min(s.initialBackoff * s.backoffMultiplier ** failures, s.maxBackoff);
  return Math.round(s.jitter ? Math.random() * longest2 : longest2);
}
function hintOf(s, code, reason) {
  if (code !== 1012) return void 0;
  try {
    const ms = JSON.parse(reason).reconnectAfterMs;
    if (typeof ms === "number" && ms >= 0) return Math.min(ms, s.maxServerDelay);
  } catch {
  }
  return void 0;
}

// src/channels.ts
var Channels = class {
  #settings;
  #link;
  #outbox;
  #events;
  #channels = /* @__PURE__ */ new Map();
  constructor(settings, link, outbox, events) {
    this.#settings = settings;
    this.#link = link;
    this.#outbox = outbox;
    this.#events = events;
  }
  add(name, subscriber) {
    let channel = this.#channels.get(name);
    if (!channel) this.#channels.set(name, channel = { subscribers: /* @__PURE__ */ new Set(), failures: 0 });
    channel.subscribers.add(subscriber);
    if (!channel.forget || channel.subscribers.size === 1) this.#ask(name, channel);
  }
  remove(name, subscriber) {
    const channel = this.#channels.get(name);
    if (!channel?.subscribers.delete(subscriber) || channel.subscribers.size > 0) return;
    this.#rest(channel);
    channel.failures = 0;
    channel.over = true;
    if (this.#link()?.open) this.#ask(name, channel);
    else this.#channels.delete(name);
  }
  /** Puts a new connection on all channels, in one burst. */
  restore() {
    for (const [name, channel] of this.#channels) {
      channel.failures = 0;
      this.#ask(name, channel);
    }
  }
  /** The connection is gone. */
  lost() {
    for (const [name, channel] of this.#channels) {
      this.#rest(channel);
      channel.over = false;
      if (!channel.subscribers.size) this.#channels.delete(name);
      for (const subscriber of channel.subscribers) subscriber.live = false;
    }
  }
  /** The hub has refused a frame unseen, and does not say which: each subscribe without an answer may be the one. */
  limited() {
    for (const [name, channel] of this.#channels) {
      if (channel.forget && channel.timer === void 0) this.#askLater(name, channel);
    }
  }
  clear() {
    this.lost();
    this.#channels.clear();
  }
  /** Hands a message to its channel's handlers, and says whether there are any. */
  deliver(frame) {
    const channel = this.#channels.get(frame.channel);
    for (const subscriber of [...channel?.subscribers ?? []]) {
      if (!channel?.over && channel?.subscribers.has(subscriber)) this.#events.call(subscriber.handler, frame);
    }
    return !!channel;
  }
  /** Ends what goes on for a channel. */
  #rest(channel) {
    clearTimeout(channel.timer);
    channel.timer = void 0;
    channel.forget?.();
    channel.forget = void 0;
  }
  #ask(name, channel) {
    if (!this.#link()?.open) return;
    this.#rest(channel);
    let answered = false;
    const leaving = !channel.subscribers.size;
    const forget = this.#outbox.ask({ type: leaving ? "unsubscribe" : "subscribe", data: name }, 0, (answer, error) => {
      answered = true;
      this.#rest(channel);
      if (error) this.#refused(name, channel, error);
      else if (leaving) this.#channels.delete(name);
      else this.#joined(channel, answer);
    });
    if (!answered) channel.forget = forget;
  }
  #joined(channel, answer) {
    channel.failures = 0;
    channel.over = false;
    for (const subscriber of [...channel.subscribers]) {
      if (subscriber.live) continue;
      subscriber.live = true;
      this.#events.call(subscriber.onSubscribed, answer);
    }
  }
  #refused(name, channel, error) {
    if (error.temporary) this.#askLater(name, channel);
    else if (!channel.subscribers.size) this.#channels.delete(name);
    for (const subscriber of [...channel.subscribers]) {
      if (!subscriber.live) this.#events.call(subscriber.onError, error);
    }
  }
  #askLater(name, channel) {
    channel.timer = setTimeout(() => this.#ask(name, channel), backoff(this.#settings, channel.failures++));
  }
};

// src/errors.ts
var temporary = /^(disconnected|queue_full|timeout|lost|unreachable|credentials|unavailable|internal|rate_limited)$/;
var ClientError = class extends Error {
  name = "ClientError";
  code;
  constructor(code, message, more = {}) {
    super(message, more);
    this.code = code;
    if (more.frame) this.frame = more.frame;
    if (more.closeCode) this.closeCode = more.closeCode;
  }
  /** Whether the same may work later. */
  get temporary() {
    return temporary.test(this.code);
  }
};
function errorOf(frame) {
  const data = frame.data;
  const code = typeof data?.code === "string" ? data.code : "server_error";
  return new ClientError(code, typeof data?.message === "string" ? data.message : code, { frame });
}

// src/events.ts
var Emitter = class {
  #handlers = /* @__PURE__ */ new Map();
  #over = false;
  on(name, handler) {
    const wrapped = (detail) => handler(detail);
    let set = this.#handlers.get(name);
    if (!set) this.#handlers.set(name, set = /* @__PURE__ */ new Set());
    set.add(wrapped);
    return () => set.delete(wrapped);
  }
  emit(name, detail) {
    if (this.#over) return;
    const set = this.#handlers.get(name);
    if (name === "error" && !set?.size && !detail.temporary) report(detail);
    for (const handler of [...set ?? []]) {
      if (set?.has(handler)) this.call(handler, detail, name === "error");
    }
  }
  /** Calls a function of the application's. What it throws, or its promise is rejected with, becomes an error event. */
  call(handler, detail, last = false) {
    const failed = (cause) => {
      if (last || this.#over) report(cause);
      else this.emit("error", new ClientError("handler", "a handler threw: " + String(cause), { cause }));
    };
    try {
      const result = handler?.(detail);
      if (typeof result?.then === "function") result.then(void 0, failed);
    } catch (cause) {
      failed(cause);
    }
  }
  close() {
    this.#over = true;
    for (const set of this.#handlers.values()) set.clear();
  }
};
function report(error) {
  (globalThis.reportError ?? console.error)(error);
}
function whenAborted(signal, done) {
  const once = () => {
    signal?.removeEventListener("abort", once);
    done();
  };
  signal?.addEventListener("abort", once);
  return once;
}

// src/frames.ts
var answers = /^(reply|pong|(un)?subscribed)$/;
var isAnswer = (frame) => answers.test(frame.type);
var reserved = /^(publish|presence|refresh|welcome|cancel)$/;
var isIdle = (frame) => isAnswer(frame) || reserved.test(frame.type);
function parse(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame?.type === "string" ? frame : void 0;
  } catch {
    return void 0;
  }
}

// src/link.ts
var OPEN = 1;
var lost = 1006;
var Link = class {
  #settings;
  #hooks;
  #attempt = new AbortController();
  #socket;
  #timer;
  #asked = false;
  #over = false;
  constructor(settings, last, hooks) {
    this.#settings = settings;
    this.#hooks = hooks;
    this.#timer = setTimeout(() => this.#fail("the attempt took too long"), settings.handshakeTimeout);
    void this.#dial(last);
  }
  get open() {
    return this.#socket?.readyState === OPEN;
  }
  /** How many bytes wait in the socket. */
  get buffered() {
    return this.#socket?.bufferedAmount ?? 0;
  }
  send(text) {
    this.#socket?.send(text);
  }
  /** Asks the hub whether it is there, unless it is being asked. */
  check() {
    if (!this.open || this.#asked) return;
    this.#asked = true;
    this.send('{"type":"ping"}');
    this.#await(() => this.#fail("the hub has fallen silent"), this.#settings.pongTimeout);
  }
  /** Ends it without a word to the hooks. */
  drop() {
    const socket = this.#detach();
    socket?.close(1e3);
  }
  async #dial(last) {
    await void 0;
    if (this.#over) return;
    let url;
    try {
      url = await this.#settings.dial(this.#attempt.signal, last);
    } catch (cause) {
      const final = cause instanceof ClientError && cause.code === "stopped";
      this.#end(lost, "", new ClientError("credentials", "no credentials, or no URL: " + String(cause), { cause }), final);
      return;
    }
    if (this.#over) return;
    try {
      this.#socket = new this.#settings.WebSocket(url, this.#settings.protocols);
    } catch (cause) {
      this.#end(lost, "", new ClientError("unreachable", String(cause), { cause }), true);
      return;
    }
    this.#listen(this.#socket);
  }
  #listen(socket) {
    socket.onopen = () => {
      this.#heard();
      this.#hooks.opened();
    };
    socket.onmessage = (event) => {
      this.#heard();
      const frame = parse(event.data);
      if (frame) this.#hooks.frame(frame);
    };
    socket.onerror = () => {
    };
    socket.onclose = (event) => this.#end(event.code ?? lost, event.reason ?? "");
  }
  /** The hub lives. */
  #heard() {
    this.#asked = false;
    this.#await(() => this.check(), this.#settings.pingInterval);
  }
  /** There is one timer, for whatever is awaited. */
  #await(what, ms) {
    clearTimeout(this.#timer);
    if (ms > 0) this.#timer = setTimeout(what, ms);
  }
  #fail(reason) {
    const socket = this.#detach();
    if (socket?.terminate) socket.terminate();
    else socket?.close();
    this.#hooks.ended(lost, reason);
  }
  #end(code, reason, error, final) {
    if (this.#over) return;
    this.#detach();
    this.#hooks.ended(code, reason, error, final);
  }
  #detach() {
    const socket = this.#socket;
    this.#over = true;
    this.#socket = void 0;
    clearTimeout(this.#timer);
    this.#attempt.abort();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {
      };
    }
    return socket;
  }
};

// src/messages.ts
var Messages = class {
  #backlog = [];
  #waiting = [];
  #limit;
  #dropsOldest;
  #ended;
  #dropped = 0;
  #leave;
  /** @internal */
  constructor(options, leave) {
    this.#limit = options.backlog || 1024;
    this.#dropsOldest = options.overflow === "dropOldest";
    this.#leave = leave;
  }
  /** How many messages were left out because the loop did not take them. */
  get dropped() {
    return this.#dropped;
  }
  /** @internal */
  push(message) {
    if (this.#ended) return;
    const first = this.#waiting.shift();
    if (first) {
      first.resolve({ value: message, done: false });
      return;
    }
    if (this.#backlog.length >= this.#limit) {
      this.#dropped++;
      if (!this.#dropsOldest) {
        this.end({ error: new ClientError("overflow", `more than ${this.#limit} messages waited for the loop`) });
        return;
      }
      this.#backlog.shift();
    }
    this.#backlog.push(message);
  }
  /** @internal */
  end(how = {}) {
    if (this.#ended) return;
    this.#ended = how;
    this.#leave();
    const [first, ...others] = this.#waiting;
    this.#waiting = [];
    if (first) this.#finish().then(first.resolve, first.reject);
    for (const other of others) other.resolve({ value: void 0, done: true });
  }
  /** The error goes to one call. After it there is nothing. */
  async #finish() {
    const how = this.#ended;
    this.#ended = {};
    if (how && "error" in how) throw how.error;
    return { value: void 0, done: true };
  }
  next() {
    const value = this.#backlog.shift();
    if (value) return Promise.resolve({ value, done: false });
    if (this.#ended) return this.#finish();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
  return() {
    this.#backlog = [];
    this.end();
    this.#ended = {};
    return this.#finish();
  }
  [Symbol.asyncIterator]() {
    return this;
  }
};

// src/options.ts
var numbers = {
  initialBackoff: 1e3,
  maxBackoff: 3e4,
  backoffMultiplier: 2,
  maxRetries: 0,
  stableAfter: 1e4,
  maxServerDelay: 3e5,
  handshakeTimeout: 1e4,
  pingInterval: 2e4,
  pongTimeout: 1e4,
  requestTimeout: 1e4,
  queueMessages: 1024,
  queueBytes: 1 << 20
};
var mayBeOff = ["pingInterval", "requestTimeout"];
var longest = 2 ** 31 - 1;
var fail = (name, why) => new TypeError(`go-ws client: ${name} ${why}`);
function settingsOf(options) {
  const { url, getToken, tokenParameter = "token" } = options;
  if (!url) throw fail("url", "is missing");
  if (typeof url !== "function") absolute(url);
  const s = { ...numbers };
  for (const name of Object.keys(numbers)) {
    const value = options[name] || s[name];
    if (typeof value !== "number" || !(value <= longest)) throw fail(name, `must be a number of up to ${longest}, not ${String(value)}`);
    if (value < 0 && !mayBeOff.includes(name)) throw fail(name, "must not be negative");
    s[name] = value;
  }
  if (s.backoffMultiplier < 1) throw fail("backoffMultiplier", "must be at least 1");
  if (s.maxBackoff < s.initialBackoff) throw fail("maxBackoff", "is shorter than initialBackoff");
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  if (!WebSocket) throw fail("WebSocket", "is needed, there is no global one: pass that of the npm package ws");
  return {
    ...s,
    WebSocket,
    protocols: options.protocols ?? ["go-ws.v1.json"],
    jitter: options.jitter !== false,
    queueWhileAway: !!options.queueWhileAway,
    async dial(signal, last) {
      const token = await getToken?.(last ? { signal, last } : { signal });
      if (typeof url === "function") return absolute(await url(token)).href;
      const to = absolute(url);
      if (token) to.searchParams.set(tokenParameter, token);
      return to.href;
    }
  };
}
function absolute(url) {
  let to;
  try {
    to = new URL(url, globalThis.location?.href);
  } catch {
    throw fail("url", `"${url}" is ${/^\w+:/.test(String(url)) ? "no URL" : "relative, which only works in a page"}`);
  }
  to.protocol = to.protocol.replace(/^http/, "ws");
  to.hash = "";
  return to;
}

// src/outbox.ts
var Outbox = class {
  #settings;
  #link;
  #refusal;
  #queue = /* @__PURE__ */ new Set();
  #bytes = 0;
  #asked = /* @__PURE__ */ new Map();
  #ids = 0;
  constructor(settings, link) {
    this.#settings = settings;
    this.#link = link;
  }
  /** Hands a frame to the socket or to the queue. The function that it returns takes it back out of the queue. */
  put(text, done) {
    const link = this.#link();
    const { queueWhileAway, queueMessages, queueBytes } = this.#settings;
    const waiting = { text, done };
    const full = () => done(new ClientError("queue_full", "not sent: too much waits to be sent already"));
    if (link?.open) {
      if (link.buffered && link.buffered + text.length > queueBytes) full();
      else {
        link.send(text);
        done();
      }
    } else if (this.#refusal) done(this.#refusal);
    else if (!queueWhileAway) done(new ClientError("disconnected", "not sent: there is no connection"));
    else if (this.#queue.size >= queueMessages || this.#bytes && this.#bytes + text.length > queueBytes) full();
    else {
      this.#queue.add(waiting);
      this.#bytes += text.length;
    }
    return () => this.#take(waiting);
  }
  #take(waiting) {
    if (this.#queue.delete(waiting)) this.#bytes -= waiting.text.length;
  }
  /** Sends a frame with an id of its own. done is called once, unless the function that it returns is called before. */
  ask(frame, timeout, done) {
    const id = String(++this.#ids);
    const text = JSON.stringify({ ...frame, id });
    let timer;
    let withdraw;
    const end = () => {
      clearTimeout(timer);
      withdraw?.();
      return this.#asked.delete(id);
    };
    const asked = {
      sent: false,
      channel: frame.type.endsWith("subscribe") ? frame.data : void 0,
      settle(answer, error) {
        end();
        done(answer, error);
      }
    };
    this.#asked.set(id, asked);
    if (timeout > 0 && timeout <= longest) timer = setTimeout(() => asked.settle(void 0, new ClientError("timeout", "no answer in time")), timeout);
    withdraw = this.put(text, (error) => {
      asked.sent = true;
      if (error) asked.settle(void 0, error);
    });
    return () => {
      if (!end() || !asked.channel || !asked.sent) return;
      asked.settle = end;
      this.#asked.set(id, asked);
    };
  }
  send(frame) {
    return new Promise((resolve, reject) => {
      this.put(JSON.stringify(frame), (error) => error ? reject(error) : resolve());
    });
  }
  request(frame, { signal, timeout }) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      let settled = false;
      let release = () => {
      };
      const forget = this.ask(frame, timeout || this.#settings.requestTimeout, (answer, error) => {
        settled = true;
        release();
        if (answer) resolve(answer);
        else reject(error);
      });
      if (settled) return;
      release = whenAborted(signal, () => {
        if (settled) return;
        forget();
        reject(signal?.reason);
      });
    });
  }
  /** Hands an answer to who waits for it, and says whether somebody does. */
  answered(frame) {
    const asked = this.#asked.get(frame.id);
    if (!asked) return false;
    const refusal = frame.type === "error";
    const { channel } = frame;
    const fits = isAnswer(frame) || (channel == null ? refusal || !asked.channel : refusal && channel === asked.channel);
    if (fits) asked.settle(refusal ? void 0 : frame, refusal ? errorOf(frame) : void 0);
    return fits;
  }
  /** Sends what has waited for a connection, in its order. */
  flush() {
    const link = this.#link();
    for (const waiting of this.#queue) {
      if (!link?.open) return;
      this.#take(waiting);
      link.send(waiting.text);
      waiting.done();
    }
  }
  /** The connection is gone: what has been sent gets no answer any more. */
  lost(error) {
    for (const asked of [...this.#asked.values()]) {
      if (asked.sent) asked.settle(void 0, error);
    }
  }
  /** There will be no connection: nothing waits any longer, and until one is there nothing is taken. */
  refuse(error) {
    this.#refusal = error;
    for (const waiting of [...this.#queue]) {
      this.#take(waiting);
      waiting.done(error);
    }
    this.lost(error);
  }
  /** Somebody wants a connection again. */
  accept() {
    this.#refusal = void 0;
  }
};

// src/page.ts
function watchPage(hooks) {
  const document = globalThis.document;
  const page = globalThis;
  const listeners = [
    [page, "online", () => hooks.back(true)],
    [page, "offline", () => hooks.doubt()],
    [page, "pageshow", () => hooks.back(false)],
    [document, "visibilitychange", () => document?.visibilityState === "visible" && hooks.back(false)]
  ];
  for (const [target, name, listener] of listeners) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of listeners) target?.removeEventListener?.(name, listener);
  };
}

// src/client.ts
var expired = 4001;
var Client = class {
  #settings;
  #events = new Emitter();
  #outbox;
  #channels;
  #iterators = /* @__PURE__ */ new Set();
  #link;
  #state = "disconnected";
  #retry;
  // there while the next attempt is waited for
  #stable;
  #failures = 0;
  // in a row, that the backoff counts
  #attempts = 0;
  // since the last connection
  #connected = false;
  // once
  #closed = false;
  #renewed = false;
  // the last wait was none, for new credentials
  #last;
  // why the attempt or connection before has ended
  #bound = /* @__PURE__ */ new Set();
  // what waits for signals of the application's
  #release;
  // of the page's events
  /** Throws a TypeError that names the option with which no client can work. */
  constructor(options) {
    this.#settings = settingsOf(options);
    const link = () => this.#link;
    this.#outbox = new Outbox(this.#settings, link);
    this.#channels = new Channels(this.#settings, link, this.#outbox, this.#events);
    this.#release = watchPage({ back: (fresh) => this.#hurry(fresh), doubt: () => this.#link?.check() });
    const { signal } = options;
    if (signal?.aborted) this.close();
    else this.#bind(signal, () => this.close());
    queueMicrotask(() => this.connect());
  }
  get state() {
    return this.#state;
  }
  /** Connects at once: a wait is cut short, and a client that has stopped starts anew. Does nothing where there is a connection, or after close. */
  connect() {
    if (this.#closed || this.#link) return;
    clearTimeout(this.#retry);
    this.#retry = void 0;
    this.#outbox.accept();
    this.#attempts++;
    const link = new Link(this.#settings, this.#last, {
      opened: () => this.#opened(link),
      frame: (frame) => this.#take(frame),
      ended: (code, reason, error, final) => {
        if (this.#link === link) this.#ended(code, reason, error, final);
      }
    });
    this.#link = link;
    this.#become("connecting");
  }
  /**
   * Hands each message of a channel to the handler, one after another, until the function that it
   * returns is called. It may be called at any time: the hub is asked when there is a connection, and
   * after each reconnect again. Handlers don't wait for what another's promise does.
   */
  subscribe(channel, handler, options = {}) {
    if (typeof channel !== "string" || !channel || channel.startsWith("$")) throw new TypeError("go-ws client: no name for a channel: it is no string, empty, or begins with $");
    if (this.#closed) throw this.#closedError();
    const { signal, onSubscribed, onError } = options;
    if (signal?.aborted) return () => {
    };
    const subscriber = { handler, onSubscribed, onError, live: false };
    this.#channels.add(channel, subscriber);
    return this.#bind(signal, () => this.#channels.remove(channel, subscriber));
  }
  /**
   * The messages of a channel for a loop: for await (const message of client.messages("news")). Those
   * that come from now on wait for the loop, up to the backlog. The loop ends when the client is
   * closed; it throws where the hub refuses the channel for good, and where the client stops.
   */
  messages(channel, options = {}) {
    const { signal } = options;
    signal?.throwIfAborted();
    const iterator = new Messages(options, () => {
      leave();
      release();
      this.#iterators.delete(iterator);
    });
    const leave = this.subscribe(channel, (message) => iterator.push(message), {
      onError: (error) => {
        if (!error.temporary) iterator.end({ error });
      }
    });
    const release = whenAborted(signal, () => {
      if (signal?.aborted) iterator.end({ error: signal.reason });
    });
    this.#iterators.add(iterator);
    return iterator;
  }
  /**
   * Sends a frame of the application's. Resolved when the socket has it, which says nothing of the
   * hub: request does. Rejected with a ClientError where it is not sent: at once while there is no
   * connection, unless queueWhileAway is on.
   */
  send(frame) {
    return this.#outbox.send(frame);
  }
  /** Sends a frame of the application's and resolves with the answer. Rejected with a ClientError where the hub answers with an error, or there is no answer. */
  request(frame, options = {}) {
    return this.#outbox.request(frame, options);
  }
  /** Calls the handler whenever it happens, until the function that it returns is called or the signal aborts. */
  on(event, handler, options = {}) {
    if (this.#closed || options.signal?.aborted) return () => {
    };
    return this.#bind(options.signal, this.#events.on(event, handler));
  }
  /** Ends it for good. What waits is rejected, loops over messages end, and nothing is left running. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#stable);
    this.#release();
    const link = this.#link;
    const wasOpen = link?.open;
    this.#link = void 0;
    link?.drop();
    this.#channels.clear();
    this.#outbox.refuse(this.#closedError());
    for (const iterator of [...this.#iterators]) iterator.end();
    if (this.#state !== "disconnected") this.#become("disconnected");
    if (wasOpen) this.#events.emit("disconnect", { code: 1e3, reason: "closed by the client" });
    this.#events.close();
    for (const end of [...this.#bound]) end();
  }
  /** Is whenAborted, but leaves no listener behind when the client is closed. */
  #bind(signal, done) {
    const end = whenAborted(signal, () => {
      this.#bound.delete(end);
      done();
    });
    if (signal) this.#bound.add(end);
    return end;
  }
  #closedError() {
    return new ClientError("closed", "the client has been closed");
  }
  #become(state, more = {}) {
    const previous = this.#state;
    this.#state = state;
    this.#events.emit("statechange", { state, previous, ...more });
  }
  #opened(link) {
    const attempt = this.#attempts;
    const again = this.#connected;
    this.#attempts = 0;
    this.#connected = true;
    this.#stable = setTimeout(() => {
      this.#failures = 0;
      this.#renewed = false;
    }, this.#settings.stableAfter);
    this.#channels.restore();
    this.#outbox.flush();
    if (this.#link !== link) return;
    this.#become("connected");
    this.#events.emit("connect", { attempt });
    if (again) this.#events.emit("reconnect", { attempt });
  }
  #take(frame) {
    if (this.#outbox.answered(frame) || isIdle(frame) || this.#channels.deliver(frame)) return;
    if (frame.type !== "error") {
      this.#events.emit("message", frame);
      return;
    }
    const error = errorOf(frame);
    if (error.code === "rate_limited") this.#channels.limited();
    this.#events.emit("error", error);
  }
  #ended(code, reason, cause, final = isFinal(code)) {
    const wasOpen = this.#state === "connected";
    const failures = this.#failures++;
    const { maxRetries } = this.#settings;
    this.#link = void 0;
    clearTimeout(this.#stable);
    let error = cause ?? new ClientError(wasOpen ? "lost" : "unreachable", `${wasOpen ? "the connection was lost" : "no connection"}: ${code} ${reason}`.trim(), { closeCode: code });
    this.#channels.lost();
    this.#outbox.lost(error);
    const spent = maxRetries > 0 && failures >= maxRetries && globalThis.navigator?.onLine !== false;
    let retry = {};
    if (final || spent) {
      const why = final ? cause?.message ?? `the hub closed with ${code} ${reason}`.trim() : `after ${maxRetries} attempts in vain`;
      error = new ClientError("stopped", "the client has stopped: " + why, { cause: error, closeCode: code });
      this.#failures = 0;
      this.#outbox.refuse(error);
      for (const iterator of [...this.#iterators]) iterator.end({ error });
    } else {
      this.#renewed = code === expired && !this.#renewed;
      const wait = hintOf(this.#settings, code, reason) ?? (this.#renewed ? 0 : backoff(this.#settings, failures));
      retry = { retryIn: wait };
      this.#retry = setTimeout(() => this.connect(), wait);
    }
    this.#last = error;
    this.#become("disconnected", { ...retry, error });
    if (wasOpen) this.#events.emit("disconnect", { code, reason, ...retry });
    if (!wasOpen || error.code === "stopped") this.#events.emit("error", error);
  }
  /** The network is back, or somebody looks at the page. */
  #hurry(fresh) {
    if (fresh) this.#failures = 0;
    if (this.#retry !== void 0) this.connect();
    else this.#link?.check();
  }
};
export {
  Client,
  ClientError
};
