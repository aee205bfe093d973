// A service worker that adds the headers of cross-origin isolation to a site whose server cannot: pages, frames and
// workers of the site are answered with COOP and COEP. A classic script, so that a site's own service worker can
// `importScripts` it.
//
// Only what needs the headers passes through here. Everything else (images, scripts, models, ranges, uploads, other
// origins) goes from the browser to the network as if there were no service worker.

interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

interface Scope {
  readonly location: Location;
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: Event & { waitUntil(work: Promise<void>): void }) => void): void;
  addEventListener(type: "fetch", listener: (event: FetchEvent) => void): void;
}

{
  const scope = globalThis as unknown as Scope;
  /** A response with one of these statuses has no body, and must not be made with one. */
  const bodiless = [101, 204, 205, 304];
  /** What has an embedder policy of its own: a worker without the page's is refused. */
  const workers = ["worker", "sharedworker"];
  const policy = new URL(scope.location.href).searchParams.get("coep") === "credentialless" ? "credentialless" : "require-corp";

  const isConcerned = ({ method, mode, destination, url, headers, cache }: Request): boolean =>
    method === "GET" &&
    (mode === "navigate" || workers.includes(destination)) &&
    new URL(url).origin === scope.location.origin &&
    !headers.has("range") &&
    !(cache === "only-if-cached" && mode !== "same-origin");

  const isolated = async (request: Request): Promise<Response> => {
    const response = await fetch(request);
    // Redirects of a page are opaque: the browser follows them, and asks here again.
    if (response.status === 0 || response.type === "opaque" || response.type === "opaqueredirect") return response;
    const headers = new Headers(response.headers);
    headers.set("cross-origin-opener-policy", "same-origin");
    headers.set("cross-origin-embedder-policy", policy);
    headers.set("cross-origin-resource-policy", "same-origin");
    const { status, statusText } = response;
    return new Response(bodiless.includes(status) ? null : response.body, { status, statusText, headers });
  };

  scope.addEventListener("install", (event) => event.waitUntil(scope.skipWaiting()));
  scope.addEventListener("activate", (event) => event.waitUntil(scope.clients.claim()));
  scope.addEventListener("fetch", (event) => {
    if (isConcerned(event.request)) event.respondWith(isolated(event.request));
  });
}
