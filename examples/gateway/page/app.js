// Ties the page together: rooms, the connection, the figures and the forms.

import { Connection } from "./connection.js";
import { publish, stats as readStats } from "./api.js";
import { EVERYONE, Rooms, entryOf } from "./rooms.js";
import * as view from "./view.js";

const { $ } = view;
const STORE = "go-ws-gateway";
const KEPT = 300;
const FIRST_CHANNEL = "lobby";

const rooms = new Rooms();
const keys = { token: "", publish: "" };
let state = { name: "connecting" };
let stats = null;
let wasConnected = false;

// What a reload keeps: in sessionStorage, so each tab is a visitor of its own.
function remember() {
  try {
    sessionStorage.setItem(STORE, JSON.stringify({ name: $("name").value, channels: rooms.channels, current: rooms.current, keys }));
  } catch {
    // A browser may forbid storage. The page works without.
  }
}

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

const connection = new Connection({
  address: "ws",
  token: () => keys.token,
  onFrame: (frame) => note(frame.channel ?? EVERYONE, entryOf(frame)),
  onError: view.say,
  onJoined(channel, local) {
    const room = rooms.get(channel);
    room.live = true;
    room.local = local;
    view.drawSubscribers(rooms.get(rooms.current), stats);
  },
  onState(next) {
    if (next.name === "connected") wasConnected = true;
    else if (wasConnected) {
      wasConnected = false;
      for (const name of rooms.names) {
        if (name !== EVERYONE) rooms.get(name).live = false;
        note(name, { kind: "gap", text: "Connection lost. What was said meanwhile is missing here." });
      }
    }
    state = next;
    if (next.why === "unauthorized") $("keys").open = true;
    view.drawState(state);
    view.drawSubscribers(rooms.get(rooms.current), stats);
  },
});

function note(name, entry) {
  const room = rooms.get(name);
  // One gap is enough, however often an attempt fails.
  if (!room || (entry.kind === "gap" && (room.entries.length === 0 || room.entries.at(-1).kind === "gap"))) return;
  if (rooms.note(name, entry)) view.addEntry(entry, $("name").value, KEPT);
  else view.drawRooms(rooms, open);
}

function open(name) {
  rooms.open(name);
  draw();
  remember();
}

function join(channel) {
  if (rooms.add(channel)) connection.join(channel);
  open(channel);
}

function draw() {
  view.drawRooms(rooms, open);
  view.drawRoom(rooms.get(rooms.current), $("name").value, command(rooms.current));
  view.drawSubscribers(rooms.get(rooms.current), stats);
  view.drawLive(stats?.topChannels ?? [], rooms.channels, join);
}

// command is what a newcomer can paste into a terminal to publish here.
function command(name) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const body = name === EVERYONE ? { data: "hello" } : { channel: name, data: "hello" };
  const path = name === EVERYONE ? "broadcast" : "publish";
  return `curl -H 'Content-Type: application/json' \\\n  -d ${quote(JSON.stringify(body))} \\\n  ${new URL(path, location.href).href}`;
}

async function watchFigures() {
  let pause = 1000;
  if (document.visibilityState === "visible") {
    let note = "";
    try {
      stats = await readStats(keys.publish);
    } catch (err) {
      stats = null;
      if (err.status === 401 || err.status === 403) {
        note = err.status === 401 ? "The figures need the publish key." : err.message;
        pause = 5000;
      }
    }
    $("figures-note").textContent = note;
    $("figures-note").hidden = note === "";
    view.drawFigures(stats);
    view.drawSubscribers(rooms.get(rooms.current), stats);
    view.drawLive(stats?.topChannels ?? [], rooms.channels, join);
  }
  clearTimeout(watchFigures.timer);
  watchFigures.timer = setTimeout(watchFigures, pause);
}

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  const room = rooms.current;
  if (!text) return;
  try {
    await publish(room === EVERYONE ? null : room, { from: $("name").value.trim(), text }, keys.publish);
    if ($("text").value.trim() === text) $("text").value = "";
    view.say("");
  } catch (err) {
    view.say(err.status ? `Not sent: ${err.message}.` : "Not sent: the gateway can’t be reached.");
    if (err.status === 401) $("keys").open = true;
  }
});

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const channel = $("join-channel").value.trim();
  if (!channel) return;
  if (channel.startsWith("$")) {
    view.say("A channel’s name can’t begin with $.");
    return;
  }
  $("join-channel").value = "";
  view.say("");
  join(channel);
});

$("leave").addEventListener("click", () => {
  const name = rooms.current;
  connection.leave(name);
  rooms.remove(name);
  open(rooms.current);
});

$("keys-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keys.token = $("token").value.trim();
  keys.publish = $("publish-key").value.trim();
  remember();
  view.say("");
  connection.open();
  watchFigures();
});

$("retry").addEventListener("click", () => connection.retry());
$("name").addEventListener("change", remember);

const kept = recall();
$("name").value = kept.name || `guest-${100 + Math.floor(Math.random() * 900)}`;
Object.assign(keys, kept.keys);
$("token").value = keys.token;
$("publish-key").value = keys.publish;
for (const channel of kept.channels ?? [FIRST_CHANNEL]) {
  rooms.add(channel);
  connection.join(channel);
}
open(rooms.names.includes(kept.current) ? kept.current : (rooms.channels[0] ?? EVERYONE));
connection.open();
watchFigures();
setInterval(() => {
  if (state.name === "waiting") view.drawState(state);
}, 1000);
