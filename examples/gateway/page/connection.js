// The page's connection: a client that is made anew with other keys, and tells
// in the page's words how it is.

import { Client, ClientError } from "../client.js";

export class Connection {
  #address;
  #token;
  #hooks;
  #client = null;
  #channels = new Map(); // name → how to leave it
  #unauthorized = false;

  // address is the hub's, token() is asked at every attempt. onFrame gets each
  // frame, onJoined(channel, local) tells that a channel is live, onError(text)
  // what went wrong, and onState gets {name, until, why}: "connecting",
  // "connected", "waiting" until a time, or "stopped".
  constructor({ address, token, ...hooks }) {
    this.#address = address;
    this.#token = token;
    this.#hooks = hooks;
  }

  // open connects anew, as whoever the token says.
  open() {
    this.#client?.close();
    this.#unauthorized = false;
    const client = new Client({ url: this.#address, getToken: (attempt) => this.#credentials(attempt) });
    this.#client = client;
    client.on("message", this.#hooks.onFrame);
    client.on("error", (error) => error.frame && this.#hooks.onError(error.message));
    client.on("statechange", (change) => {
      if (client === this.#client) this.#hooks.onState(this.#stateOf(change));
    });
    for (const channel of this.#channels.keys()) this.#subscribe(channel);
  }

  // retry connects at once where it waits or has stopped.
  retry() {
    this.#unauthorized = false;
    this.#client.connect();
  }

  join(channel) {
    this.#channels.set(channel, null);
    if (this.#client) this.#subscribe(channel);
  }

  leave(channel) {
    this.#channels.get(channel)?.();
    this.#channels.delete(channel);
  }

  #subscribe(channel) {
    const leave = this.#client.subscribe(channel, this.#hooks.onFrame, {
      onSubscribed: ({ data }) => this.#hooks.onJoined(channel, data?.local === true),
      onError: (error) => this.#hooks.onError(error.message),
    });
    this.#channels.set(channel, leave);
  }

  #stateOf({ state, retryIn, error }) {
    if (state !== "disconnected") return { name: state };
    if (retryIn !== undefined) return { name: "waiting", until: Date.now() + retryIn };
    return { name: "stopped", why: this.#unauthorized ? "unauthorized" : error?.message };
  }

  // credentials finds out, after an attempt that failed, whether the key was why,
  // since a browser does not tell a page the answer to its handshake: the same
  // address without the handshake is refused for the same reason.
  async #credentials({ signal, last }) {
    const token = this.#token() || undefined;
    if (last?.code !== "unreachable") return token;
    const url = new URL(this.#address, location.href);
    if (token) url.searchParams.set("token", token);
    const answer = await fetch(url, { cache: "no-store", signal });
    if (answer.status !== 401 && answer.status !== 403) return token;
    this.#unauthorized = true;
    throw new ClientError("stopped", "a key is needed");
  }
}
