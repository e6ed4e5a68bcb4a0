// The gateway's HTTP side: publishing and figures. keys() gives the keys that
// the visitor typed in.

export class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function call(path, options, key) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  let body = {};
  try {
    body = await answer.json();
  } catch {
    // A proxy may answer with something else; the status says enough.
  }
  if (!answer.ok) {
    throw new Refusal(answer.status, body.error?.code ?? "", body.error?.message ?? `the gateway answered ${answer.status}`);
  }
  return body;
}

export const stats = (key) => call("stats", {}, key);

// publish sends to a channel, or to everyone when channel is null. When the
// network fails it tries once more with the same id: the hub delivers an id
// only once, whether or not the first attempt had arrived.
export async function publish(channel, data, key) {
  const id = randomId();
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(channel === null ? { data, id } : { channel, data, id }),
  };
  const path = channel === null ? "broadcast" : "publish";
  try {
    return await call(path, options, key);
  } catch (err) {
    if (err instanceof Refusal) throw err;
    return call(path, options, key);
  }
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
