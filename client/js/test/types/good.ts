// Must compile: what users write.

import { Client, ClientError } from "go-ws-client";
import type { ClientOptions, ConnectionState, Events, Frame, Message, Messages, StateChange, Subscribed, WebSocketConstructor } from "go-ws-client";
import WebSocket from "ws";

const control = new AbortController();
const options: ClientOptions = { url: "/ws", getToken: async ({ signal, last }) => (last?.closeCode === 4001 ? await (await fetch("/token", { signal })).text() : undefined) };
export const client = new Client({ ...options, WebSocket, signal: control.signal, maxRetries: 3, jitter: true, queueWhileAway: true });
export const browsers: WebSocketConstructor = globalThis.WebSocket;
new Client({ url: (token) => new URL(`wss://example.com/ws/${token}`) }).close();

interface Headline {
  title: string;
}

export const leave: () => void = client.subscribe<Headline>("news", (message) => message.data.title.trim());
client.subscribe("news", ({ type, channel, timestamp, data }) => console.log(type.trim(), channel.trim(), timestamp?.trim(), data.anything), {
  onSubscribed: (frame: Subscribed) => frame.data?.local === true,
  onError: (error) => error instanceof ClientError && error.code === "forbidden" && !error.temporary,
  signal: control.signal,
});

export async function read(): Promise<void> {
  const messages: Messages<Headline> = client.messages<Headline>("news", { backlog: 10, overflow: "dropOldest" });
  for await (const message of messages) {
    const { data, channel }: Message<Headline> = message;
    console.log(channel, data.title, messages.dropped);
  }
}

export async function ask(): Promise<unknown> {
  const answer: Frame = await client.request({ type: "add", data: [1, 2] }, { timeout: 1000, signal: control.signal });
  await client.send({ type: "say", channel: "lobby", data: { text: "hi" } });
  return answer.data;
}

export const state: ConnectionState = client.state;
export const off: () => void = client.on("statechange", ({ state, previous, retryIn, error }) => console.log(state === previous, retryIn?.toFixed(), error?.closeCode?.toFixed()));
client.on("statechange", (change: StateChange) => change.error?.code);
export const connected = ({ attempt }: Events["connect"]): string => attempt.toFixed();
client.on("connect", connected);
client.on("reconnect", async ({ attempt }) => attempt.toFixed());
client.on("disconnect", ({ code, reason, retryIn = 0 }) => [code.toFixed(), reason.trim(), retryIn.toFixed()]);
client.on("error", (error: ClientError) => error.frame?.type, { signal: control.signal });
client.connect();
client.close();
