// Cross-origin isolation, which shared memory and so threads need, for sites whose server cannot send its headers.

/** What `isolate` has found or done. */
export type Isolation =
  /** The page is isolated: nothing was to be done. */
  | { readonly state: "isolated" }
  /** The page is being loaded again, and will be isolated: what it begins now is lost. */
  | { readonly state: "reloading" }
  /** The page is not isolated and stays so; everything but threads works. */
  | { readonly state: "unavailable"; readonly reason: string };

/** What `isolate` can be told. */
export interface IsolationOptions {
  /**
   * Where the service worker's script is, `"isolation-worker.js"` beside the page by default. Only pages at or below its
   * folder are isolated, and it must come from the page's own origin.
   */
  worker?: string | URL;
}

/** Remembers, for as long as the tab lives, that the page was loaded again: it is done once. */
const MARK = "wisplm:isolation";
/** How long the service worker may take to start. */
const PATIENCE_MS = 10_000;

/**
 * Makes the page cross-origin isolated by a service worker, which adds the headers that the server does not send. The
 * first visit loads the page a second time, once at most; later visits are isolated at once.
 *
 * ```ts
 * const { state, reason } = await isolate();
 * if (state !== "reloading") start();
 * ```
 */
export async function isolate(options: IsolationOptions = {}): Promise<Isolation> {
  if (globalThis.crossOriginIsolated) {
    memory()?.removeItem(MARK);
    return { state: "isolated" };
  }
  const reason = obstacle() ?? (await register(script(options)));
  if (reason !== undefined) return { state: "unavailable", reason };
  const marks = memory();
  if (marks === undefined) return unavailable("the page may not store anything, and so not remember that it was loaded again");
  if (marks.getItem(MARK) !== null) {
    return unavailable("the service worker runs, and the page is still not isolated after it was loaded again");
  }
  marks.setItem(MARK, "loaded again");
  location.reload();
  return { state: "reloading" };
}

/** Removes the service worker; `true` if there was one. The page stays as it is until it is loaded again. */
isolate.remove = async (options: IsolationOptions = {}): Promise<boolean> => {
  memory()?.removeItem(MARK);
  const registration = await globalThis.navigator?.serviceWorker?.getRegistration();
  if (registration === undefined || !isOurs(registration, script(options))) return false;
  return registration.unregister();
};

function unavailable(reason: string): Isolation {
  return { state: "unavailable", reason };
}

// What no service worker can change.
function obstacle(): string | undefined {
  if (typeof document === "undefined") return "this is not a page";
  if (!globalThis.isSecureContext) return "the page is not secure: isolation needs https or localhost";
  if (globalThis.crossOriginIsolated === undefined) return "this browser knows no cross-origin isolation";
  if (navigator.serviceWorker === undefined) return "there are no service workers here (a private window?)";
  if (globalThis.top !== globalThis.self) return "the page is in a frame: the page around it must be isolated first";
  return undefined;
}

function script({ worker = "isolation-worker.js" }: IsolationOptions): URL {
  const url = new URL(worker, document.baseURI);
  // Where `credentialless` is known, what other sites serve without CORS or CORP still shows. The mark is Chromium's;
  // Firefox, which knows it too, has none.
  if ("credentialless" in HTMLIFrameElement.prototype) url.searchParams.set("coep", "credentialless");
  return url;
}

// Starts the service worker; says why it cannot.
async function register(url: URL): Promise<string | undefined> {
  const { serviceWorker } = navigator;
  try {
    const there = await serviceWorker.getRegistration();
    if (there !== undefined && !isOurs(there, url)) {
      return "the site has a service worker of its own: let that one importScripts isolation-worker.js";
    }
    const registration = await serviceWorker.register(url);
    if (!location.href.startsWith(registration.scope)) {
      await registration.unregister();
      return `${url.pathname} reaches pages below ${new URL(registration.scope).pathname} only: put it beside the page or above`;
    }
    return await started(registration);
  } catch (error) {
    return `the service worker ${url.href} does not start: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function isOurs({ active, waiting, installing }: ServiceWorkerRegistration, url: URL): boolean {
  const worker = active ?? waiting ?? installing;
  return worker !== null && new URL(worker.scriptURL).pathname === url.pathname;
}

function started({ active, waiting, installing }: ServiceWorkerRegistration): Promise<string | undefined> {
  const worker = installing ?? waiting ?? active;
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve("the service worker does not start"), PATIENCE_MS);
    const look = (): void => {
      if (worker?.state !== "activated" && worker?.state !== "redundant") return;
      clearTimeout(timer);
      worker.removeEventListener("statechange", look);
      resolve(worker.state === "activated" ? undefined : "the browser has given the service worker up");
    };
    worker?.addEventListener("statechange", look);
    look();
  });
}

// Storage may be forbidden, which shows when it is touched.
function memory(): Storage | undefined {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
