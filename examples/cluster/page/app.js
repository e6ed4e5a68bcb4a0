// Three connections, one to each hub, and a button for the broker.

const HUBS = 3;
const CHANNEL = "news";
const KEPT = 200; // lines of a log

class Column {
  #root;
  #socket;
  #requests = 0;
  #asked = new Map(); // request's id → what is to be done with the answer

  constructor(number) {
    this.number = number;
    const part = document.querySelector("#hub").content.cloneNode(true);
    this.#root = part.querySelector("section");
    this.#root.id = `hub-${number}`;
    this.#part("h2").textContent = `Hub ${number}`;
    this.#part(".log").setAttribute("aria-label", `What hub ${number} receives`);
    this.#part("input").setAttribute("aria-label", `Message to publish on hub ${number}`);
    this.#part("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish(event.target.elements.text);
    });
    document.querySelector("#hubs").append(part);
    this.#connect();
  }

  #part(selector) {
    return this.#root.querySelector(selector);
  }

  #connect() {
    this.#socket = new WebSocket(`${location.origin.replace("http", "ws")}/hub/${this.number}/ws`);
    this.#socket.onopen = () => {
      this.#socket.send(JSON.stringify({ type: "subscribe", data: CHANNEL }));
      this.look();
    };
    this.#socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    this.#socket.onclose = () => {
      this.#asked.clear();
      this.#health("gone", "the hub is gone");
      setTimeout(() => this.#connect(), 1000 + 2000 * Math.random());
    };
  }

  // request sends a frame and hands its answer, a reply or an error, to done.
  #request(frame, done) {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    const id = String(++this.#requests);
    this.#asked.set(id, done);
    this.#socket.send(JSON.stringify({ ...frame, id }));
    return true;
  }

  #take(frame) {
    const done = frame.id && this.#asked.get(frame.id);
    if (done) {
      this.#asked.delete(frame.id);
      done(frame);
    } else if (frame.type === "event") {
      this.#line(`hub ${frame.data?.from}`, frame.data?.text);
    } else if (frame.type === "health") {
      this.#healthy(frame.data.healthy);
      this.look();
    }
  }

  #publish(field) {
    const frame = { type: "say", channel: CHANNEL, data: { from: this.number, text: field.value } };
    const sent = this.#request(frame, (answer) => {
      if (answer.type === "error") this.#line("not everywhere", answer.data.message, "note");
    });
    if (sent) field.value = "";
  }

  look() {
    if (this.#asked.size > 20) return; // it does not answer
    this.#request({ type: "look" }, ({ type, data }) => {
      if (type === "error") return;
      this.#healthy(data.healthy);
      this.#part(".here").textContent = data.here;
      this.#part(".everywhere").textContent = data.everywhere;
      this.#part(".fleet").textContent = `${data.answered} of ${data.hubs} answer`;
      this.#part(".received").textContent = data.received;
    });
  }

  #healthy(healthy) {
    if (healthy) this.#health("good", "joined with the others");
    else this.#health("bad", "alone: the broker is away");
  }

  #health(state, text) {
    const health = this.#part(".health");
    health.dataset.state = state;
    if (health.textContent !== text) health.textContent = text;
  }

  // line shows what came, as text and never as HTML.
  #line(from, text, kind = "") {
    const line = document.createElement("p");
    const who = document.createElement("b");
    who.textContent = `${from}: `;
    line.className = kind;
    line.append(who, String(text));
    const log = this.#part(".log");
    log.append(line);
    while (log.children.length > KEPT) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }
}

const columns = Array.from({ length: HUBS }, (_, i) => new Column(i + 1));
setInterval(() => columns.forEach((column) => column.look()), 1000);

const toggle = document.querySelector("#toggle");

function showBroker({ running, url }) {
  const state = document.querySelector("#broker");
  state.textContent = running ? `The broker runs at ${url}` : "The broker is stopped";
  state.dataset.state = running ? "good" : "bad";
  toggle.textContent = running ? "Stop the broker" : "Start the broker";
  toggle.dataset.next = running ? "broker/stop" : "broker/start";
  toggle.disabled = false;
}

async function ask(path, method) {
  toggle.disabled = true;
  try {
    const answer = await fetch(path, { method });
    if (!answer.ok) throw new Error(await answer.text());
    showBroker(await answer.json());
  } catch (err) {
    document.querySelector("#broker").textContent = `That did not work: ${err.message}`;
    toggle.disabled = false;
  }
}

toggle.addEventListener("click", () => ask(toggle.dataset.next ?? "broker", toggle.dataset.next ? "POST" : "GET"));
ask("broker", "GET");
