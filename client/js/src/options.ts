import type { ClientError } from "./errors.js";

/** What the client uses of a WebSocket: the browser's, Node's and the one of the package ws are such. */
export interface WebSocketLike {
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

/** Times are in milliseconds. Zero and undefined are the default; a negative number is off, where that is said. */
export interface ClientOptions {
  /**
   * Where the hub is: ws:, wss:, http:, https:, or in a page relative to it, as "/ws". A function
   * is asked before each attempt, with the token, and puts it where it belongs.
   */
  url: string | URL | ((token: string | undefined) => string | URL | Promise<string | URL>);
  /**
   * Asked before each attempt for the credentials, which go into the URL's query: a browser sets no headers on a
   * WebSocket. Where it fails the client tries again, with backoff; a ClientError with the code "stopped" stops
   * it. Nothing is added where it returns undefined. last is why the attempt or the connection before has ended:
   * a closeCode of 4001 says that the last credentials have expired. The signal aborts when the attempt is over.
   */
  getToken?: (attempt: { signal: AbortSignal; last?: ClientError }) => string | undefined | Promise<string | undefined>;
  /** The token's query parameter. Default "token". */
  tokenParameter?: string;
  /** Subprotocols to offer. Default ["go-ws.v1.json"]; an empty list offers none. */
  protocols?: string[];
  /** The WebSocket to use. Needed where there is no global one: Node.js 20. */
  WebSocket?: WebSocketConstructor;
  /** Closes the client when it aborts. */
  signal?: AbortSignal;

  /** The longest wait after the first failure. Default 1,000. */
  initialBackoff?: number;
  /** The longest wait after any number of failures. Default 30,000. */
  maxBackoff?: number;
  /** By how much the longest wait grows with each failure. Default 2. */
  backoffMultiplier?: number;
  /** Waits are taken at random between zero and the longest. Default true; false is for tests. */
  jitter?: boolean;
  /** How many attempts may follow one another without a connection that lasts, the first one not counted. Then the client stops. Default 0: no limit. */
  maxRetries?: number;
  /** A connection that has lasted for so long makes the backoff start from the beginning. Default 10,000. */
  stableAfter?: number;
  /** The longest wait that a hub may ask for when it restarts. Default 300,000. */
  maxServerDelay?: number;
  /** How long an attempt may take, getToken included. Default 10,000. */
  handshakeTimeout?: number;
  /** After so long a silence of the hub's it is asked for a pong. Default 20,000; negative is off. */
  pingInterval?: number;
  /** A hub that is silent for so long after it was asked is gone. Default 10,000. */
  pongTimeout?: number;
  /** How long a request waits for its answer where it says nothing else. Default 10,000; negative is without limit. */
  requestTimeout?: number;
  /** Keeps what is sent without a connection, within the two limits below, and sends it in its order once there is one. Default false: it is refused at once. */
  queueWhileAway?: boolean;
  /** How many frames may wait for a connection. Default 1,024. */
  queueMessages?: number;
  /** How much may wait for a connection, and in the socket, about in bytes. Default 1,048,576. */
  queueBytes?: number;
}

const numbers = {
  initialBackoff: 1000,
  maxBackoff: 30_000,
  backoffMultiplier: 2,
  maxRetries: 0,
  stableAfter: 10_000,
  maxServerDelay: 300_000,
  handshakeTimeout: 10_000,
  pingInterval: 20_000,
  pongTimeout: 10_000,
  requestTimeout: 10_000,
  queueMessages: 1024,
  queueBytes: 1 << 20,
};

const mayBeOff = ["pingInterval", "requestTimeout"];

/** The longest time that a timer takes, in milliseconds. */
export const longest = 2 ** 31 - 1;

/** The options with their defaults. */
export type Settings = typeof numbers & {
  dial: (signal: AbortSignal, last: ClientError | undefined) => Promise<string>;
  WebSocket: WebSocketConstructor;
  protocols: string[];
  jitter: boolean;
  queueWhileAway: boolean;
};

const fail = (name: string, why: string) => new TypeError(`go-ws client: ${name} ${why}`);

/** Throws a TypeError that names the option with which no client can work. */
export function settingsOf(options: ClientOptions): Settings {
  const { url, getToken, tokenParameter = "token" } = options;
  if (!url) throw fail("url", "is missing");
  if (typeof url !== "function") absolute(url); // throws now what each attempt would
  const s = { ...numbers };
  for (const name of Object.keys(numbers) as (keyof typeof numbers)[]) {
    const value = options[name] || s[name];
    if (typeof value !== "number" || !(value <= longest)) throw fail(name, `must be a number of up to ${longest}, not ${String(value)}`);
    if (value < 0 && !mayBeOff.includes(name)) throw fail(name, "must not be negative");
    s[name] = value;
  }
  if (s.backoffMultiplier < 1) throw fail("backoffMultiplier", "must be at least 1");
  if (s.maxBackoff < s.initialBackoff) throw fail("maxBackoff", "is shorter than initialBackoff");
  const WebSocket = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
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
    },
  };
}

/** A WebSocket's URL; throws a TypeError where it is none. Browsers of before 2024 take neither http: nor what is relative. */
function absolute(url: string | URL): URL {
  let to: URL;
  try {
    to = new URL(url, globalThis.location?.href);
  } catch {
    throw fail("url", `"${url}" is ${/^\w+:/.test(String(url)) ? "no URL" : "relative, which only works in a page"}`);
  }
  to.protocol = to.protocol.replace(/^http/, "ws");
  to.hash = "";
  return to;
}
