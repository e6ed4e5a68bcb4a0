// What goes over the wire: docs/protocol.md.

/** A frame from the hub, as it came. Fields that this version does not know are in the object too. */
export interface Frame {
  /** What the frame is: "event", "process_output", "reply", "error" … */
  type: string;
  /** The channel that it is about. Absent for what was sent to everybody, to the user or to this client. */
  channel?: string;
  /** Of process_output and process_status. */
  processId?: string;
  /** In an answer, the id of what it answers. */
  id?: string;
  data?: unknown;
  /** When the frame was made: RFC 3339 in UTC. */
  timestamp?: string;
}

/** A message of a channel. T is what its data is taken for; nothing checks it. */
export interface Message<T = unknown> extends Frame {
  channel: string;
  data: T;
}

/** The hub's answer to a subscribe: from here on the channel's messages arrive. */
export interface Subscribed extends Frame {
  channel: string;
  /** local: true where the hub can't reach the other hubs, so that only what is published at this one arrives. */
  data?: { local?: boolean };
}

/** A frame of the application's, to send. The id of a request is the client's. */
export interface Outgoing {
  type: string;
  channel?: string;
  processId?: string;
  id?: string;
  data?: unknown;
}

/** Those with which a hub answers, and which nobody can publish. */
const answers = /^(reply|pong|(un)?subscribed)$/;

export const isAnswer = (frame: Frame): boolean => answers.test(frame.type);

/** Kept for later versions of the protocol. */
const reserved = /^(publish|presence|refresh|welcome|cancel)$/;

/** Whether a frame for which nobody waits is of no use to the application. */
export const isIdle = (frame: Frame): boolean => isAnswer(frame) || reserved.test(frame.type);

/** The frame in a WebSocket message, or undefined where it is none. */
export function parse(text: unknown): Frame | undefined {
  try {
    const frame = JSON.parse(text as string);
    return typeof frame?.type === "string" ? frame : undefined;
  } catch {
    return undefined;
  }
}
