import type { Settings } from "./options.js";

const finals = /^(100[023789]|4[5-9]..)$/;

/** Whether a close code says that coming back is in vain. */
export const isFinal = (code: number): boolean => finals.test(String(code));

/** How long to wait after so many failures in a row, in milliseconds. */
export function backoff(s: Settings, failures: number): number {
  const longest = Math.min(s.initialBackoff * s.backoffMultiplier ** failures, s.maxBackoff);
  return Math.round(s.jitter ? Math.random() * longest : longest);
}

/** What a hub that restarts asks for, in milliseconds; undefined where the close is none with a hint. */
export function hintOf(s: Settings, code: number, reason: string): number | undefined {
  if (code !== 1012) return undefined;
  try {
    const ms = JSON.parse(reason).reconnectAfterMs;
    if (typeof ms === "number" && ms >= 0) return Math.min(ms, s.maxServerDelay);
  } catch {
    // No hint: come back as after any other end.
  }
  return undefined;
}
