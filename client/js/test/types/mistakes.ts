// Must not compile: the lines that are marked as wrong, and no other.

import { Client } from "go-ws-client";
import type { ClientOptions } from "go-ws-client";

const client = new Client({ url: "/ws" });
new Client({}); // wrong: no url
new Client({ url: "/ws", initalBackoff: 5 }); // wrong: no such option
new Client({ url: "/ws", maxRetries: "3" }); // wrong: a number is wanted
new Client({ url: "/ws", getToken: () => 7 }); // wrong: a token is a string
new Client({ url: "/ws", WebSocket: Date }); // wrong: no WebSocket
client.subscribe("news"); // wrong: no handler
client.subscribe<{ title: string }>("news", ({ data }) => data.tilte); // wrong: no such field
client.subscribe("news", ({ chanel }) => chanel); // wrong: no such field
client.messages("news", { overflow: "newest" }); // wrong: no such policy
client.request({ data: 1 }); // wrong: no type
client.on("conect", () => {}); // wrong: no such event
client.on("disconnect", ({ cod }) => cod); // wrong: no such field
client.state = "connected"; // wrong: read only
const state: "waiting" = client.state; // wrong: no such state
client.messages("news").push({}); // wrong: not for users
export const options: ClientOptions = { url: "/ws", jitter: 1 }; // wrong: true or false
export { state };
