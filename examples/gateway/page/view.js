// Draws. Every text from outside enters the document as text, never as HTML.

import { EVERYONE } from "./rooms.js";

export const $ = (id) => document.getElementById(id);

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const number = new Intl.NumberFormat("en");

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// hue gives each name a colour of its own.
function hue(name) {
  let sum = 7;
  for (const c of name) sum = (sum * 31 + c.codePointAt(0)) % 360;
  return sum;
}

function drawEntry(entry, me) {
  if (entry.kind === "gap") return element("p", "gap", entry.text);
  const box = element("article", entry.kind === "said" && entry.from === me ? "entry mine" : "entry");
  box.style.setProperty("--hue", hue(entry.from));
  const head = element("header");
  head.append(element("b", "", entry.from || "nameless"), element("time", "", clock.format(entry.time)));
  head.lastChild.dateTime = entry.time.toISOString();
  box.append(head, entry.kind === "data" ? element("code", "", entry.text) : element("p", "", entry.text));
  return box;
}

export const title = (name) => (name === EVERYONE ? "Everyone" : `#${name}`);

// drawRoom shows a whole room, as after switching to it.
export function drawRoom(room, me, hint) {
  const log = $("log");
  $("talk-title").textContent = title(room.name);
  $("leave").hidden = room.name === EVERYONE;
  log.replaceChildren(...room.entries.map((entry) => drawEntry(entry, me)));
  if (room.entries.length === 0) log.append(drawHint(hint));
  log.scrollTop = log.scrollHeight;
}

function drawHint(command) {
  const box = element("div", "empty");
  box.append(element("p", "", "Nothing yet. Say something, or publish from a terminal on this machine:"), element("pre", "", command));
  return box;
}

// addEntry shows one more entry of the room on show. Whoever has scrolled up to
// read is not pulled down.
export function addEntry(entry, me, kept) {
  const log = $("log");
  log.querySelector(".empty")?.remove();
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  log.append(drawEntry(entry, me));
  while (log.childElementCount > kept) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

export function drawRooms(rooms, onOpen) {
  const items = rooms.names.map((name) => {
    const room = rooms.get(name);
    const button = element("button", "room", title(name));
    button.type = "button";
    if (name === rooms.current) button.setAttribute("aria-current", "true");
    if (room.unread > 0) {
      const badge = element("span", "badge", String(room.unread));
      badge.setAttribute("aria-label", `${room.unread} unread`);
      button.append(badge);
    }
    button.addEventListener("click", () => onOpen(name));
    const item = element("li");
    item.append(button);
    return item;
  });
  replaceKeepingFocus($("rooms"), items);
}

let shown = "";

// drawLive leaves the list alone while it would look the same: a button that is
// replaced between press and release is never clicked.
export function drawLive(top, joined, onJoin) {
  const look = JSON.stringify([top, joined]);
  if (look === shown) return;
  shown = look;
  const items = top.map(({ channel, subscribers }) => {
    const item = element("li");
    const on = joined.includes(channel);
    const button = element("button", "room", title(channel));
    button.type = "button";
    button.title = on ? "Show it" : "Join it";
    const count = element("span", "count", number.format(subscribers));
    count.setAttribute("aria-label", `${subscribers} subscribed`);
    button.append(count);
    button.addEventListener("click", () => onJoin(channel));
    item.append(button);
    return item;
  });
  $("live-none").hidden = items.length > 0;
  replaceKeepingFocus($("live"), items);
}

// replaceKeepingFocus redraws a list of buttons under the hands of somebody who
// moves through it with the keyboard.
function replaceKeepingFocus(list, items) {
  const at = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...items);
  if (at >= 0) items[Math.min(at, items.length - 1)]?.querySelector("button").focus();
}

export function drawFigures(stats) {
  for (const name of ["clients", "channels", "published", "delivered"]) {
    $(`figure-${name}`).textContent = stats ? number.format(stats[name]) : "–";
  }
}

export function drawSubscribers(room, stats) {
  const of = stats?.topChannels.find(({ channel }) => channel === room.name);
  let text = "";
  if (room.name === EVERYONE) text = "Broadcasts, heard on every channel";
  else if (!room.live) text = "Joining…";
  else if (room.local) text = "Only this hub at the moment: the others can’t be reached";
  else if (of) text = of.subscribers === 1 ? "Only you are here" : `${number.format(of.subscribers)} are here`;
  $("talk-sub").textContent = text;
}

export function drawState(state) {
  $("state").dataset.state = state.name;
  $("retry").hidden = state.name !== "waiting" && state.name !== "stopped";
  $("state-text").textContent = stateText(state);
}

function stateText(state) {
  switch (state.name) {
    case "connected":
      return "Connected";
    case "connecting":
      return "Connecting…";
    case "waiting": {
      const seconds = Math.max(0, Math.round((state.until - Date.now()) / 1000));
      return seconds > 1 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
    }
    default:
      return state.why === "unauthorized" ? "A key is needed" : "Disconnected";
  }
}

export function say(text) {
  $("notice").textContent = text;
  $("notice").hidden = text === "";
}
