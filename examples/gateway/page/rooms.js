// What this tab knows: the channels that it is on and what was said there.
// Nothing here touches the document.

// The room of broadcasts. They have no channel, and no channel's name is empty.
export const EVERYONE = "";
const KEPT = 300;

export class Rooms {
  #rooms = new Map([[EVERYONE, newRoom(EVERYONE)]]);
  current = EVERYONE;

  get names() {
    return [...this.#rooms.keys()];
  }

  get channels() {
    return this.names.filter((name) => name !== EVERYONE);
  }

  get(name) {
    return this.#rooms.get(name);
  }

  // add returns false where the room was there already.
  add(name) {
    if (this.#rooms.has(name)) return false;
    this.#rooms.set(name, newRoom(name));
    return true;
  }

  remove(name) {
    if (name === EVERYONE) return;
    this.#rooms.delete(name);
    if (this.current === name) this.current = this.channels.at(-1) ?? EVERYONE;
  }

  open(name) {
    this.current = name;
    this.get(name).unread = 0;
  }

  // note keeps an entry of a room: {kind, from, text, time}. It reports whether
  // the room is the one on show.
  note(name, entry) {
    const room = this.get(name);
    if (!room) return false;
    room.entries.push(entry);
    if (room.entries.length > KEPT) room.entries.shift();
    if (name === this.current) return true;
    if (entry.kind !== "gap") room.unread++;
    return false;
  }
}

const newRoom = (name) => ({ name, entries: [], unread: 0, live: name === EVERYONE });

// entryOf makes an entry of a frame: what this page sends is {from, text}, all
// else is shown as the JSON that it is.
export function entryOf(frame) {
  const time = frame.timestamp ? new Date(frame.timestamp) : new Date();
  const { data } = frame;
  if (frame.type === "event" && typeof data?.from === "string" && typeof data?.text === "string") {
    return { kind: "said", from: data.from, text: data.text, time };
  }
  const text = typeof data === "string" ? data : JSON.stringify(data) ?? "";
  return { kind: "data", from: frame.type, text, time };
}
