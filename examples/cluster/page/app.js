// Three connections, one to each hub, and a button for the broker.

import { Client } from "../client.js";

const HUBS = 3;
const CHANNEL = "news";
const KEPT = 200; // lines of a log

class Column {
  #root;
  #client;
  #looking = false;

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
    this.#client = new Client({ url: `hub/${this.number}/ws` });
    this.#client.subscribe(CHANNEL, ({ data }) => this.#line(`hub ${data?.from}`, data?.text));
    this.#client.on("connect", () => this.look());
    this.#client.on("disconnect", () => this.#health("gone", "the hub is gone"));
    this.#client.on("message", ({ type, data }) => {
      if (type !== "health") return;
      this.#healthy(data.healthy);
      this.look();
    });
  }

  async #publish(field) {
    const text = field.value;
    try {
      const answer = this.#client.request({ type: "say", channel: CHANNEL, data: { from: this.number, text } });
      field.value = "";
      await answer;
    } catch (error) {
      if (error.frame) this.#line("not everywhere", error.message, "note");
      else if (!field.value) field.value = text; // not sent
    }
  }

  async look() {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const { data } = await this.#client.request({ type: "look" });
      this.#healthy(data.healthy);
      this.#part(".here").textContent = data.here;
      this.#part(".everywhere").textContent = data.everywhere;
      this.#part(".fleet").textContent = `${data.answered} of ${data.hubs} answer`;
      this.#part(".received").textContent = data.received;
    } catch {
      // The hub is gone, or says no: it is asked again in a second.
    } finally {
      this.#looking = false;
    }
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
