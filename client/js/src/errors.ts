import type { Frame } from "./frames.js";

/**
 * What went wrong, for programs. An error of the hub's has the code of its frame:
 * "forbidden", "unavailable" …, or one of the application's own. The client's are:
 *
 * - "disconnected": not sent, since there is no connection, and queueWhileAway is off
 * - "queue_full": not sent, since too much waits already
 * - "timeout": no answer in time
 * - "lost": the connection was lost; what had been sent may have been handled or not
 * - "unreachable": an attempt to connect failed
 * - "stopped": the client does not come back by itself: the hub's close code says so, or the retries are used up
 * - "closed": close was called
 * - "overflow": an iterator's backlog was full
 * - "credentials": getToken, or the function url, failed
 * - "handler": a function of the application's threw
 */
export type ErrorCode =
  | "disconnected" | "queue_full" | "timeout" | "lost" | "unreachable" | "stopped" | "closed" | "overflow" | "credentials" | "handler"
  | "forbidden" | "unavailable" | "internal" | "rate_limited" | "unknown_type" | "invalid_frame" | "invalid_channel" | "too_many_subscriptions" | "server_error"
  | (string & {});

const temporary = /^(disconnected|queue_full|timeout|lost|unreachable|credentials|unavailable|internal|rate_limited)$/;

/** Every error of the client's. Those of an AbortSignal are its reason, as it is everywhere. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly code: ErrorCode;
  /** The hub's frame, where the hub reports the error. */
  declare readonly frame?: Frame;
  /** The close code, where a connection's end is the cause. */
  declare readonly closeCode?: number;

  constructor(code: ErrorCode, message: string, more: { cause?: unknown; frame?: Frame; closeCode?: number } = {}) {
    super(message, more);
    this.code = code;
    if (more.frame) this.frame = more.frame;
    if (more.closeCode) this.closeCode = more.closeCode;
  }

  /** Whether the same may work later. */
  get temporary(): boolean {
    return temporary.test(this.code);
  }
}

/** The error that an error frame reports. */
export function errorOf(frame: Frame): ClientError {
  const data = frame.data as { code?: unknown; message?: unknown } | null | undefined;
  const code = typeof data?.code === "string" ? data.code : "server_error";
  return new ClientError(code, typeof data?.message === "string" ? data.message : code, { frame });
}
