import { ClientError, errorOf } from "./errors.js";
import { whenAborted } from "./events.js";
import type { Frame, Outgoing } from "./frames.js";
import { isAnswer } from "./frames.js";
import type { Link } from "./link.js";
import type { Settings } from "./options.js";
import { longest } from "./options.js";

export interface RequestOptions {
  /** Rejects the promise with its reason. What has been sent can't be called back. */
  signal?: AbortSignal;
  /** How long to wait for the answer, in milliseconds, in the queue too. Default: the client's requestTimeout; negative, and what is longer than a timer takes (2,147,483,647), is without limit. */
  timeout?: number;
}

interface Waiting {
  text: string;
  /** Called once: when the socket has the frame, or with the reason why not. */
  done: (error?: ClientError) => void;
}

interface Asked {
  sent: boolean;
  channel: unknown; // what a subscribe or unsubscribe is about, which the answer names
  settle: (answer: Frame | undefined, error?: ClientError) => void;
}

/** What is to be sent: the queue while there is no connection, and those who wait for answers. */
export class Outbox {
  #settings: Settings;
  #link: () => Link | undefined;
  #refusal: ClientError | undefined;
  #queue = new Set<Waiting>();
  #bytes = 0;
  #asked = new Map<string, Asked>();
  #ids = 0;

  constructor(settings: Settings, link: () => Link | undefined) {
    this.#settings = settings;
    this.#link = link;
  }

  /** Hands a frame to the socket or to the queue. The function that it returns takes it back out of the queue. */
  put(text: string, done: Waiting["done"]): () => void {
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
    else if (this.#queue.size >= queueMessages || (this.#bytes && this.#bytes + text.length > queueBytes)) full();
    else {
      this.#queue.add(waiting);
      this.#bytes += text.length;
    }
    return () => this.#take(waiting);
  }

  #take(waiting: Waiting): void {
    if (this.#queue.delete(waiting)) this.#bytes -= waiting.text.length;
  }

  /** Sends a frame with an id of its own. done is called once, unless the function that it returns is called before. */
  ask(frame: Outgoing, timeout: number, done: Asked["settle"]): () => void {
    const id = String(++this.#ids);
    const text = JSON.stringify({ ...frame, id });
    let timer: ReturnType<typeof setTimeout> | undefined;
    let withdraw: (() => void) | undefined;
    const end = () => {
      clearTimeout(timer);
      withdraw?.();
      return this.#asked.delete(id);
    };
    const asked: Asked = {
      sent: false,
      channel: frame.type.endsWith("subscribe") ? frame.data : undefined,
      settle(answer, error) {
        end();
        done(answer, error);
      },
    };
    this.#asked.set(id, asked);
    if (timeout > 0 && timeout <= longest) timer = setTimeout(() => asked.settle(undefined, new ClientError("timeout", "no answer in time")), timeout);
    withdraw = this.put(text, (error) => {
      asked.sent = true;
      if (error) asked.settle(undefined, error);
    });
    return () => {
      if (!end() || !asked.channel || !asked.sent) return;
      // Its answer names a channel, and would be taken for a message.
      asked.settle = end;
      this.#asked.set(id, asked);
    };
  }

  send(frame: Outgoing): Promise<void> {
    return new Promise((resolve, reject) => {
      this.put(JSON.stringify(frame), (error) => (error ? reject(error) : resolve()));
    });
  }

  request(frame: Outgoing, { signal, timeout }: RequestOptions): Promise<Frame> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      let settled = false;
      let release = () => {};
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
  answered(frame: Frame): boolean {
    const asked = this.#asked.get(frame.id as string);
    if (!asked) return false;
    const refusal = frame.type === "error";
    const { channel } = frame;
    // Messages have ids of their own. What answers a request may be of a type of the application's, but is on no channel.
    const fits = isAnswer(frame) || (channel == null ? refusal || !asked.channel : refusal && channel === asked.channel);
    if (fits) asked.settle(refusal ? undefined : frame, refusal ? errorOf(frame) : undefined);
    return fits;
  }

  /** Sends what has waited for a connection, in its order. */
  flush(): void {
    const link = this.#link();
    for (const waiting of this.#queue) {
      if (!link?.open) return;
      this.#take(waiting);
      link.send(waiting.text);
      waiting.done();
    }
  }

  /** The connection is gone: what has been sent gets no answer any more. */
  lost(error: ClientError): void {
    for (const asked of [...this.#asked.values()]) {
      if (asked.sent) asked.settle(undefined, error);
    }
  }

  /** There will be no connection: nothing waits any longer, and until one is there nothing is taken. */
  refuse(error: ClientError): void {
    this.#refusal = error;
    for (const waiting of [...this.#queue]) {
      this.#take(waiting);
      waiting.done(error);
    }
    this.lost(error);
  }

  /** Somebody wants a connection again. */
  accept(): void {
    this.#refusal = undefined;
  }
}
