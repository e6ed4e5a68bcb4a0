import { backoff } from "./backoff.js";
import type { ClientError } from "./errors.js";
import type { Emitter } from "./events.js";
import type { Frame, Message, Subscribed } from "./frames.js";
import type { Link } from "./link.js";
import type { Settings } from "./options.js";
import type { Outbox } from "./outbox.js";

export interface SubscribeOptions {
  /** Called each time when the hub has put the client on the channel: at first, and after each reconnect. The moment to load what may have been missed. */
  onSubscribed?: (frame: Subscribed) => unknown;
  /** Called when the hub refuses. The client asks again with the next connection, and sooner where error.temporary says that it will pass. */
  onError?: (error: ClientError) => unknown;
  /** Ends the subscription when it aborts. */
  signal?: AbortSignal;
}

export interface Subscriber {
  handler: (message: Message<any>) => unknown;
  onSubscribed: SubscribeOptions["onSubscribed"];
  onError: SubscribeOptions["onError"];
  live: boolean; // it has been told that the client is on the channel, by the present connection
}

interface Channel {
  subscribers: Set<Subscriber>; // none: it is being left
  over?: boolean; // what comes is of a subscription that is over
  failures: number; // how often it was refused for the moment, one after another
  timer?: ReturnType<typeof setTimeout> | undefined;
  forget?: (() => void) | undefined; // where the hub is being asked
}

/** The list of channels, which outlives connections. */
export class Channels {
  #settings: Settings;
  #link: () => Link | undefined;
  #outbox: Outbox;
  #events: Emitter;
  #channels = new Map<string, Channel>();

  constructor(settings: Settings, link: () => Link | undefined, outbox: Outbox, events: Emitter) {
    this.#settings = settings;
    this.#link = link;
    this.#outbox = outbox;
    this.#events = events;
  }

  add(name: string, subscriber: Subscriber): void {
    let channel = this.#channels.get(name);
    if (!channel) this.#channels.set(name, (channel = { subscribers: new Set(), failures: 0 }));
    channel.subscribers.add(subscriber);
    if (!channel.forget || channel.subscribers.size === 1) this.#ask(name, channel);
  }

  remove(name: string, subscriber: Subscriber): void {
    const channel = this.#channels.get(name);
    if (!channel?.subscribers.delete(subscriber) || channel.subscribers.size > 0) return;
    this.#rest(channel);
    channel.failures = 0;
    channel.over = true;
    if (this.#link()?.open) this.#ask(name, channel);
    else this.#channels.delete(name);
  }

  /** Puts a new connection on all channels, in one burst. */
  restore(): void {
    for (const [name, channel] of this.#channels) {
      channel.failures = 0;
      this.#ask(name, channel);
    }
  }

  /** The connection is gone. */
  lost(): void {
    for (const [name, channel] of this.#channels) {
      this.#rest(channel);
      channel.over = false;
      if (!channel.subscribers.size) this.#channels.delete(name);
      for (const subscriber of channel.subscribers) subscriber.live = false;
    }
  }

  /** The hub has refused a frame unseen, and does not say which: each subscribe without an answer may be the one. */
  limited(): void {
    for (const [name, channel] of this.#channels) {
      // An answer that comes all the same ends that.
      if (channel.forget && channel.timer === undefined) this.#askLater(name, channel);
    }
  }

  clear(): void {
    this.lost();
    this.#channels.clear();
  }

  /** Hands a message to its channel's handlers, and says whether there are any. */
  deliver(frame: Frame): boolean {
    const channel = this.#channels.get(frame.channel as string);
    for (const subscriber of [...(channel?.subscribers ?? [])]) {
      if (!channel?.over && channel?.subscribers.has(subscriber)) this.#events.call(subscriber.handler, frame);
    }
    return !!channel;
  }

  /** Ends what goes on for a channel. */
  #rest(channel: Channel): void {
    clearTimeout(channel.timer);
    channel.timer = undefined;
    channel.forget?.();
    channel.forget = undefined;
  }

  #ask(name: string, channel: Channel): void {
    if (!this.#link()?.open) return;
    this.#rest(channel);
    let answered = false;
    const leaving = !channel.subscribers.size;
    const forget = this.#outbox.ask({ type: leaving ? "unsubscribe" : "subscribe", data: name }, 0, (answer, error) => {
      answered = true;
      this.#rest(channel);
      if (error) this.#refused(name, channel, error);
      else if (leaving) this.#channels.delete(name);
      else this.#joined(channel, answer as Subscribed);
    });
    if (!answered) channel.forget = forget;
  }

  #joined(channel: Channel, answer: Subscribed): void {
    channel.failures = 0;
    channel.over = false;
    for (const subscriber of [...channel.subscribers]) {
      if (subscriber.live) continue;
      subscriber.live = true;
      this.#events.call(subscriber.onSubscribed, answer);
    }
  }

  #refused(name: string, channel: Channel, error: ClientError): void {
    if (error.temporary) this.#askLater(name, channel);
    else if (!channel.subscribers.size) this.#channels.delete(name);
    for (const subscriber of [...channel.subscribers]) {
      if (!subscriber.live) this.#events.call(subscriber.onError, error);
    }
  }

  #askLater(name: string, channel: Channel): void {
    channel.timer = setTimeout(() => this.#ask(name, channel), backoff(this.#settings, channel.failures++));
  }
}
