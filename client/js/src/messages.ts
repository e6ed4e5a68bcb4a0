import { ClientError } from "./errors.js";
import type { Message } from "./frames.js";

export interface MessagesOptions {
  /** How many messages may wait for the loop. Default 1,024. */
  backlog?: number;
  /** What happens to one more: "end" ends the loop with an error after those that wait (the default), "dropOldest" leaves the oldest out and counts it. */
  overflow?: "end" | "dropOldest";
  /** Ends the loop with its reason when it aborts. */
  signal?: AbortSignal;
}

/** A channel's messages, one after another. Leaving the loop ends the subscription. */
export class Messages<T = unknown> implements AsyncIterableIterator<Message<T>> {
  #backlog: Message<T>[] = [];
  #waiting: { resolve: (result: IteratorResult<Message<T>>) => void; reject: (error: unknown) => void }[] = [];
  #limit: number;
  #dropsOldest: boolean;
  #ended: { error?: unknown } | undefined;
  #dropped = 0;
  #leave: () => void;

  /** @internal */
  constructor(options: MessagesOptions, leave: () => void) {
    this.#limit = options.backlog || 1024;
    this.#dropsOldest = options.overflow === "dropOldest";
    this.#leave = leave;
  }

  /** How many messages were left out because the loop did not take them. */
  get dropped(): number {
    return this.#dropped;
  }

  /** @internal */
  push(message: Message<T>): void {
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
  end(how: { error?: unknown } = {}): void {
    if (this.#ended) return;
    this.#ended = how;
    this.#leave();
    const [first, ...others] = this.#waiting;
    this.#waiting = [];
    if (first) this.#finish().then(first.resolve, first.reject);
    for (const other of others) other.resolve({ value: undefined, done: true });
  }

  /** The error goes to one call. After it there is nothing. */
  async #finish(): Promise<IteratorResult<Message<T>>> {
    const how = this.#ended;
    this.#ended = {};
    if (how && "error" in how) throw how.error;
    return { value: undefined, done: true };
  }

  next(): Promise<IteratorResult<Message<T>>> {
    const value = this.#backlog.shift();
    if (value) return Promise.resolve({ value, done: false });
    if (this.#ended) return this.#finish();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<Message<T>>> {
    this.#backlog = [];
    this.end();
    this.#ended = {};
    return this.#finish();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
