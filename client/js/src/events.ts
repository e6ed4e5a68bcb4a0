import { ClientError } from "./errors.js";
import type { Frame } from "./frames.js";

/** Whether there is a connection ("connected"), one is being made ("connecting"), or neither. */
export type ConnectionState = "disconnected" | "connecting" | "connected";

/** What the event statechange says: the state is another. */
export interface StateChange {
  state: ConnectionState;
  previous: ConnectionState;
  /** When the next attempt is, in milliseconds, after a failed attempt or a lost connection; without it there is none. */
  retryIn?: number;
  /** Why there is no connection. */
  error?: ClientError;
}

/** What Client.on tells of, and what it hands to the handlers. */
export interface Events {
  /** The state is another. */
  statechange: StateChange;
  /** A connection is there, the first one or a later one, after so many attempts. */
  connect: { attempt: number };
  /** After connect, for each connection but the first. */
  reconnect: { attempt: number };
  /** A connection has ended. */
  disconnect: { code: number; reason: string; retryIn?: number };
  /** A message that is no subscription's: to everybody, to this user or client, or on a channel that the server has put the client on. */
  message: Frame;
  /** What has no other way to the application: an attempt that failed, an error of the hub's that answers nothing, a handler that threw, and that the client has stopped. */
  error: ClientError;
}

type Handler = (detail: any) => unknown;

/** The handlers of events. One that throws harms no other. */
export class Emitter {
  #handlers = new Map<string, Set<Handler>>();
  #over = false;

  on(name: string, handler: Handler): () => void {
    const wrapped: Handler = (detail) => handler(detail); // the same function may be there twice
    let set = this.#handlers.get(name);
    if (!set) this.#handlers.set(name, (set = new Set()));
    set.add(wrapped);
    return () => set.delete(wrapped);
  }

  emit<K extends keyof Events>(name: K, detail: Events[K]): void {
    if (this.#over) return;
    const set = this.#handlers.get(name);
    if (name === "error" && !set?.size && !(detail as ClientError).temporary) report(detail);
    for (const handler of [...(set ?? [])]) {
      if (set?.has(handler)) this.call(handler, detail, name === "error");
    }
  }

  /** Calls a function of the application's. What it throws, or its promise is rejected with, becomes an error event. */
  call(handler: Handler | undefined, detail: unknown, last = false): void {
    const failed = (cause: unknown) => {
      if (last || this.#over) report(cause);
      else this.emit("error", new ClientError("handler", "a handler threw: " + String(cause), { cause }));
    };
    try {
      const result = handler?.(detail) as PromiseLike<unknown> | undefined;
      if (typeof result?.then === "function") result.then(undefined, failed);
    } catch (cause) {
      failed(cause);
    }
  }

  close(): void {
    this.#over = true;
    for (const set of this.#handlers.values()) set.clear();
  }
}

/** Tells the page's or the program's owner, where nobody listens. */
function report(error: unknown): void {
  (globalThis.reportError ?? console.error)(error);
}

/** Runs done once: when the signal aborts, or when the function that it returns is called. */
export function whenAborted(signal: AbortSignal | undefined, done: () => void): () => void {
  const once = () => {
    signal?.removeEventListener("abort", once);
    done();
  };
  signal?.addEventListener("abort", once);
  return once;
}
