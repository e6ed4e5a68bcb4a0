import { ClientError } from "./errors.js";
import type { Frame } from "./frames.js";
import { parse } from "./frames.js";
import type { Settings, WebSocketLike } from "./options.js";

const OPEN = 1; // WebSocket.OPEN
const lost = 1006; // what browsers say of a connection that ended without a close frame

export interface LinkHooks {
  opened(): void;
  frame(frame: Frame): void;
  /** Called once, unless drop was called before. error is why there has been no connection, where that is known; final that there is no sense in trying again. */
  ended(code: number, reason: string, error?: ClientError, final?: boolean): void;
}

/** One attempt to connect, and the connection that comes of it. */
export class Link {
  #settings: Settings;
  #hooks: LinkHooks;
  #attempt = new AbortController();
  #socket: WebSocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = false;
  #over = false;

  constructor(settings: Settings, last: ClientError | undefined, hooks: LinkHooks) {
    this.#settings = settings;
    this.#hooks = hooks;
    this.#timer = setTimeout(() => this.#fail("the attempt took too long"), settings.handshakeTimeout);
    void this.#dial(last);
  }

  get open(): boolean {
    return this.#socket?.readyState === OPEN; // one that is closing takes what it is given and throws it away
  }

  /** How many bytes wait in the socket. */
  get buffered(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  /** Asks the hub whether it is there, unless it is being asked. */
  check(): void {
    if (!this.open || this.#asked) return;
    this.#asked = true;
    this.send('{"type":"ping"}');
    this.#await(() => this.#fail("the hub has fallen silent"), this.#settings.pongTimeout);
  }

  /** Ends it without a word to the hooks. */
  drop(): void {
    const socket = this.#detach();
    socket?.close(1000);
  }

  async #dial(last: ClientError | undefined): Promise<void> {
    await undefined; // getToken may close the client, which has this link by then
    if (this.#over) return;
    let url: string;
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
      // A page served by https: may not use ws:, and the like: no wait mends it.
      this.#end(lost, "", new ClientError("unreachable", String(cause), { cause }), true);
      return;
    }
    this.#listen(this.#socket);
  }

  #listen(socket: WebSocketLike): void {
    socket.onopen = () => {
      this.#heard();
      this.#hooks.opened();
    };
    socket.onmessage = (event: { data: unknown }) => {
      this.#heard();
      const frame = parse(event.data);
      if (frame) this.#hooks.frame(frame);
    };
    socket.onerror = () => {}; // a close follows, which says more
    socket.onclose = (event: { code?: number; reason?: string }) => this.#end(event.code ?? lost, event.reason ?? "");
  }

  /** The hub lives. */
  #heard(): void {
    this.#asked = false;
    this.#await(() => this.check(), this.#settings.pingInterval);
  }

  /** There is one timer, for whatever is awaited. */
  #await(what: () => void, ms: number): void {
    clearTimeout(this.#timer);
    if (ms > 0) this.#timer = setTimeout(what, ms);
  }

  #fail(reason: string): void {
    const socket = this.#detach() as (WebSocketLike & { terminate?: () => void }) | undefined;
    // Nobody is there to answer a close frame. The package ws would wait for it.
    if (socket?.terminate) socket.terminate();
    else socket?.close();
    this.#hooks.ended(lost, reason);
  }

  #end(code: number, reason: string, error?: ClientError, final?: boolean): void {
    if (this.#over) return;
    this.#detach();
    this.#hooks.ended(code, reason, error, final);
  }

  #detach(): WebSocketLike | undefined {
    const socket = this.#socket;
    this.#over = true;
    this.#socket = undefined;
    clearTimeout(this.#timer);
    this.#attempt.abort();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // ws throws an error that nobody listens to
    }
    return socket;
  }
}
