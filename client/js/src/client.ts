import { backoff, hintOf, isFinal } from "./backoff.js";
import type { SubscribeOptions, Subscriber } from "./channels.js";
import { Channels } from "./channels.js";
import { ClientError, errorOf } from "./errors.js";
import type { ConnectionState, Events } from "./events.js";
import { Emitter, whenAborted } from "./events.js";
import type { Frame, Message, Outgoing } from "./frames.js";
import { isIdle } from "./frames.js";
import { Link } from "./link.js";
import type { MessagesOptions } from "./messages.js";
import { Messages } from "./messages.js";
import type { ClientOptions, Settings } from "./options.js";
import { settingsOf } from "./options.js";
import type { RequestOptions } from "./outbox.js";
import { Outbox } from "./outbox.js";
import { watchPage } from "./page.js";

const expired = 4001; // the hub's close code for credentials that have expired

/**
 * A connection to a hub that comes back by itself, with its subscriptions. It connects as soon as it
 * is made, and until close is called.
 */
export class Client {
  #settings: Settings;
  #events = new Emitter();
  #outbox: Outbox;
  #channels: Channels;
  #iterators = new Set<Messages<any>>();
  #link: Link | undefined;
  #state: ConnectionState = "disconnected";
  #retry: ReturnType<typeof setTimeout> | undefined; // there while the next attempt is waited for
  #stable: ReturnType<typeof setTimeout> | undefined;
  #failures = 0; // in a row, that the backoff counts
  #attempts = 0; // since the last connection
  #connected = false; // once
  #closed = false;
  #renewed = false; // the last wait was none, for new credentials
  #last: ClientError | undefined; // why the attempt or connection before has ended
  #bound = new Set<() => void>(); // what waits for signals of the application's
  #release: () => void; // of the page's events

  /** Throws a TypeError that names the option with which no client can work. */
  constructor(options: ClientOptions) {
    this.#settings = settingsOf(options);
    const link = () => this.#link;
    this.#outbox = new Outbox(this.#settings, link);
    this.#channels = new Channels(this.#settings, link, this.#outbox, this.#events);
    this.#release = watchPage({ back: (fresh) => this.#hurry(fresh), doubt: () => this.#link?.check() });
    const { signal } = options;
    if (signal?.aborted) this.close();
    else this.#bind(signal, () => this.close());
    queueMicrotask(() => this.connect()); // by then the handlers are there
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Connects at once: a wait is cut short, and a client that has stopped starts anew. Does nothing where there is a connection, or after close. */
  connect(): void {
    if (this.#closed || this.#link) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#outbox.accept();
    this.#attempts++;
    const link = new Link(this.#settings, this.#last, {
      opened: () => this.#opened(link),
      frame: (frame) => this.#take(frame),
      ended: (code, reason, error, final) => {
        if (this.#link === link) this.#ended(code, reason, error, final); // a listener of getToken's signal may have closed the client
      },
    });
    this.#link = link;
    this.#become("connecting");
  }

  /**
   * Hands each message of a channel to the handler, one after another, until the function that it
   * returns is called. It may be called at any time: the hub is asked when there is a connection, and
   * after each reconnect again. Handlers don't wait for what another's promise does.
   */
  subscribe<T = any>(channel: string, handler: (message: Message<T>) => unknown, options: SubscribeOptions = {}): () => void {
    if (typeof channel !== "string" || !channel || channel.startsWith("$")) throw new TypeError("go-ws client: no name for a channel: it is no string, empty, or begins with $");
    if (this.#closed) throw this.#closedError();
    const { signal, onSubscribed, onError } = options;
    if (signal?.aborted) return () => {};
    const subscriber: Subscriber = { handler, onSubscribed, onError, live: false };
    this.#channels.add(channel, subscriber);
    return this.#bind(signal, () => this.#channels.remove(channel, subscriber));
  }

  /**
   * The messages of a channel for a loop: for await (const message of client.messages("news")). Those
   * that come from now on wait for the loop, up to the backlog. The loop ends when the client is
   * closed; it throws where the hub refuses the channel for good, and where the client stops.
   */
  messages<T = any>(channel: string, options: MessagesOptions = {}): Messages<T> {
    const { signal } = options;
    signal?.throwIfAborted();
    const iterator: Messages<T> = new Messages<T>(options, () => {
      leave();
      release();
      this.#iterators.delete(iterator);
    });
    const leave = this.subscribe<T>(channel, (message) => iterator.push(message), {
      onError: (error) => {
        if (!error.temporary) iterator.end({ error });
      },
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
  send(frame: Outgoing): Promise<void> {
    return this.#outbox.send(frame);
  }

  /** Sends a frame of the application's and resolves with the answer. Rejected with a ClientError where the hub answers with an error, or there is no answer. */
  request(frame: Outgoing, options: RequestOptions = {}): Promise<Frame> {
    return this.#outbox.request(frame, options);
  }

  /** Calls the handler whenever it happens, until the function that it returns is called or the signal aborts. */
  on<K extends keyof Events>(event: K, handler: (detail: Events[K]) => unknown, options: { signal?: AbortSignal } = {}): () => void {
    if (this.#closed || options.signal?.aborted) return () => {};
    return this.#bind(options.signal, this.#events.on(event, handler));
  }

  /** Ends it for good. What waits is rejected, loops over messages end, and nothing is left running. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#stable);
    this.#release();
    const link = this.#link;
    const wasOpen = link?.open;
    this.#link = undefined;
    link?.drop();
    this.#channels.clear();
    this.#outbox.refuse(this.#closedError());
    for (const iterator of [...this.#iterators]) iterator.end();
    if (this.#state !== "disconnected") this.#become("disconnected");
    if (wasOpen) this.#events.emit("disconnect", { code: 1000, reason: "closed by the client" });
    this.#events.close();
    for (const end of [...this.#bound]) end();
  }

  /** Is whenAborted, but leaves no listener behind when the client is closed. */
  #bind(signal: AbortSignal | undefined, done: () => void): () => void {
    const end = whenAborted(signal, () => {
      this.#bound.delete(end);
      done();
    });
    if (signal) this.#bound.add(end);
    return end;
  }

  #closedError(): ClientError {
    return new ClientError("closed", "the client has been closed");
  }

  #become(state: ConnectionState, more: { retryIn?: number; error?: ClientError } = {}): void {
    const previous = this.#state;
    this.#state = state;
    this.#events.emit("statechange", { state, previous, ...more });
  }

  #opened(link: Link): void {
    const attempt = this.#attempts;
    const again = this.#connected;
    this.#attempts = 0;
    this.#connected = true;
    this.#stable = setTimeout(() => {
      this.#failures = 0;
      this.#renewed = false;
    }, this.#settings.stableAfter);
    // Before any handler has a say.
    this.#channels.restore();
    this.#outbox.flush();
    if (this.#link !== link) return;
    this.#become("connected");
    this.#events.emit("connect", { attempt });
    if (again) this.#events.emit("reconnect", { attempt });
  }

  #take(frame: Frame): void {
    if (this.#outbox.answered(frame) || isIdle(frame) || this.#channels.deliver(frame)) return;
    if (frame.type !== "error") {
      this.#events.emit("message", frame);
      return;
    }
    const error = errorOf(frame);
    if (error.code === "rate_limited") this.#channels.limited();
    this.#events.emit("error", error);
  }

  #ended(code: number, reason: string, cause?: ClientError, final = isFinal(code)): void {
    const wasOpen = this.#state === "connected";
    const failures = this.#failures++;
    const { maxRetries } = this.#settings;
    this.#link = undefined;
    clearTimeout(this.#stable);
    let error = cause ?? new ClientError(wasOpen ? "lost" : "unreachable", `${wasOpen ? "the connection was lost" : "no connection"}: ${code} ${reason}`.trim(), { closeCode: code });
    this.#channels.lost();
    this.#outbox.lost(error);

    // Attempts of a machine that is offline say nothing of the hub.
    const spent = maxRetries > 0 && failures >= maxRetries && globalThis.navigator?.onLine !== false;
    let retry: { retryIn?: number } = {};
    if (final || spent) {
      const why = final ? (cause?.message ?? `the hub closed with ${code} ${reason}`.trim()) : `after ${maxRetries} attempts in vain`;
      error = new ClientError("stopped", "the client has stopped: " + why, { cause: error, closeCode: code });
      this.#failures = 0;
      this.#outbox.refuse(error);
      for (const iterator of [...this.#iterators]) iterator.end({ error });
    } else {
      // Once: a hub to which everything has expired must not be hammered.
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
  #hurry(fresh: boolean): void {
    if (fresh) this.#failures = 0;
    if (this.#retry !== undefined) this.connect();
    else this.#link?.check();
  }
}
