// One WebSocket to the hub that comes back by itself: with growing, scattered
// pauses, when the hub says that it restarts after the pause that it asks for,
// and not at all after a close that says that coming back is in vain.

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const LONGEST_HINT = 60_000;
// A connection that lasted this long was a good one: the pauses start anew.
const SETTLED = 5_000;
// Browsers show a page neither pings nor a dead network, so a quiet connection
// is asked for a pong.
const ASK_AFTER = 25_000;
const ANSWER_WITHIN = 10_000;

const FINAL = new Set([1000, 1002, 1003, 1007, 1008, 1009]);
const comesBack = (code) => !FINAL.has(code) && code < 4500;

// reconnectHint reads the reason of a close with code 1012.
function reconnectHint(code, reason) {
  if (code !== 1012) return null;
  try {
    const ms = JSON.parse(reason).reconnectAfterMs;
    if (Number.isFinite(ms) && ms >= 0) return Math.min(ms, LONGEST_HINT);
  } catch {
    // A reason that is no hint: pause as after any other end.
  }
  return null;
}

export class Connection {
  #address;
  #onFrame;
  #onState;
  #socket = null;
  #timer = 0;
  #quiet = 0;
  #failures = 0;
  #channels = new Set();

  // address() is asked for the URL at every attempt. onFrame gets each frame,
  // onState gets {name, until, why}: "connecting", "connected", "waiting" until
  // a time, or "stopped".
  constructor({ address, onFrame, onState }) {
    this.#address = address;
    this.#onFrame = onFrame;
    this.#onState = onState;
    window.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hurry();
    });
  }

  // open connects at once, whatever went before.
  open() {
    this.#drop();
    const socket = new WebSocket(this.#address());
    let opened = 0;
    this.#socket = socket;
    this.#onState({ name: "connecting" });
    socket.onopen = () => {
      opened = Date.now();
      this.#onState({ name: "connected" });
      for (const channel of this.#channels) this.#send("subscribe", channel);
      this.#listen();
    };
    socket.onmessage = (event) => {
      this.#listen();
      let frame;
      try {
        frame = JSON.parse(event.data);
      } catch {
        return;
      }
      this.#onFrame(frame);
    };
    socket.onclose = (event) => {
      if (opened && Date.now() - opened > SETTLED) this.#failures = 0;
      this.#ended(event.code, event.reason, opened > 0);
    };
  }

  join(channel) {
    this.#channels.add(channel);
    this.#send("subscribe", channel);
  }

  leave(channel) {
    this.#channels.delete(channel);
    this.#send("unsubscribe", channel);
  }

  #send(type, data) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify(data === undefined ? { type } : { type, data }));
    }
  }

  // drop forgets the present connection and every timer.
  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#quiet);
    this.#timer = 0;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  // hurry ends a pause early: the network is back, or somebody looks.
  #hurry() {
    if (this.#timer) this.open();
  }

  #listen() {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => {
      this.#send("ping");
      this.#quiet = setTimeout(() => {
        this.#drop();
        this.#ended(1006, "", true);
      }, ANSWER_WITHIN);
    }, ASK_AFTER);
  }

  async #ended(code, reason, opened) {
    this.#drop();
    if (opened && !comesBack(code)) {
      this.#onState({ name: "stopped", why: reason || `closed with code ${code}` });
      return;
    }
    let pause = reconnectHint(code, reason);
    if (pause === null) {
      // 1013: the hub is full. Ask less often from the start.
      if (code === 1013) this.#failures = Math.max(this.#failures, 3);
      const longest = Math.min(FIRST_PAUSE * 2 ** this.#failures, LONGEST_PAUSE);
      pause = longest / 2 + (Math.random() * longest) / 2;
      this.#failures++;
    }
    this.#wait(pause);
    if (!opened) await this.#askWhy();
  }

  #wait(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.open();
    }, pause);
    this.#onState({ name: "waiting", until: Date.now() + pause });
  }

  // askWhy finds out why an attempt failed, since a browser does not tell a
  // page the answer to its handshake: the same address without the handshake
  // is refused for the same reason.
  async #askWhy() {
    const waiting = this.#timer;
    let answer;
    try {
      answer = await fetch(this.#address().replace(/^ws/, "http"), { cache: "no-store" });
    } catch {
      return; // Nobody is there. Wait on.
    }
    if (this.#timer !== waiting) return;
    if (answer.status === 401 || answer.status === 403) {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#onState({ name: "stopped", why: "unauthorized" });
      return;
    }
    const seconds = Number(answer.headers.get("Retry-After"));
    if (answer.status === 503 && seconds > 0) this.#wait(Math.min(seconds * 1000, LONGEST_HINT) * (1 + Math.random() / 2));
  }
}
