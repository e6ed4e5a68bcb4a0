export { Client } from "./client.js";
export { ClientError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { Events, ConnectionState, StateChange } from "./events.js";
export type { Frame, Message, Outgoing, Subscribed } from "./frames.js";
export type { Messages, MessagesOptions } from "./messages.js";
export type { ClientOptions, WebSocketConstructor, WebSocketLike } from "./options.js";
export type { RequestOptions } from "./outbox.js";
export type { SubscribeOptions } from "./channels.js";
