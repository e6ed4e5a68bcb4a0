type Target = Pick<EventTarget, "addEventListener" | "removeEventListener">;

export interface PageHooks {
  /** It is a good moment to be connected. fresh: what has failed before has nothing to say any more. */
  back(fresh: boolean): void;
  /** The connection may be dead. */
  doubt(): void;
}

/** Tells what a page learns of its network and of who looks at it, until the function that it returns is called. Elsewhere than in a page there is nothing to tell. */
export function watchPage(hooks: PageHooks): () => void {
  const document = globalThis.document as (Target & { visibilityState: string }) | undefined;
  const page = globalThis as Partial<Target>;
  const listeners: [Partial<Target> | undefined, string, () => void][] = [
    [page, "online", () => hooks.back(true)],
    [page, "offline", () => hooks.doubt()],
    [page, "pageshow", () => hooks.back(false)],
    [document, "visibilitychange", () => document?.visibilityState === "visible" && hooks.back(false)],
  ];
  for (const [target, name, listener] of listeners) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of listeners) target?.removeEventListener?.(name, listener);
  };
}
