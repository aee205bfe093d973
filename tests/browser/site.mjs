// A web site for a test: the built package, models, and files that can be slow, break off or change.

import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { modelsFolder, serve } from "../../www/serve.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** `WISPLM_PACKAGE` names another build to test. */
export const packageFolder = process.env.WISPLM_PACKAGE ?? here("../../pkg/dist");
const fixtures = here("../fixtures");
const BLANK = "<!doctype html><meta charset=utf-8><title>wisplm tests</title><link rel=icon href=data:,>";
const PIECE = 64 * 1024;

export function fixture(path) {
  return readFileSync(`${fixtures}/${path}`);
}

export function fixtureJson(path) {
  return JSON.parse(fixture(path).toString("utf8"));
}

export function realModel(name) {
  const path = `${modelsFolder()}/${name}`;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`${path} cannot be read (${error.code}): run \`make models\``);
  }
}

/**
 * A site of its own on a free port, and so an origin with nothing stored.
 *
 * - `/`: an empty page; `/pkg/`: the package; `/tiny/`, `/models/`: models; `/page/`: what tests run in pages.
 * - `put(path, bytes, behaviour)`: a file of the test's own. `behaviour`: `etag`, `type`, `status`, `rate` (bytes a
 *   second), `cut` (break the connection after so many bytes, once for each number in an array), `hold` (stop after so
 *   many bytes, until the reader goes), `ranges` (false: none), `chunked` (the size is not told), `headers` (an object,
 *   or what makes one for each answer).
 * - `requests`: `{ path, method, range, ifRange, headers, status, sent, closed, break() }`, in order.
 */
export async function openSite({ isolate = true, mounts = {}, headers = {} } = {}) {
  const site = new Site();
  const server = await serve({
    isolate,
    headers,
    mounts: {
      "/": here("page"),
      "/page/": here("page"),
      "/pkg/": packageFolder,
      "/tiny/": `${fixtures}/tiny`,
      "/models/": modelsFolder(),
      ...mounts,
    },
    onRequest: (req, res) => site.answer(req, res),
  });
  site.url = server.url;
  site.server = server.server;
  site.close = server.close;
  return site;
}

class Site {
  requests = [];
  #files = new Map();

  put(path, bytes, behaviour = {}) {
    const { cut } = behaviour;
    this.#files.set(path, { bytes: Buffer.from(bytes), ...behaviour, cuts: Array.isArray(cut) ? [...cut] : [] });
    return new URL(path, this.url).href;
  }

  remove(path) {
    this.#files.delete(path);
  }

  /** The requests for one path since `mark`, a number of requests. */
  of(path, mark = 0) {
    return this.requests.slice(mark).filter((request) => request.path === path && request.method === "GET");
  }

  async answer(req, res) {
    const { pathname: path } = new URL(req.url, "http://site/");
    const { range, "if-range": ifRange } = req.headers;
    const entry = { path, method: req.method, range, ifRange, headers: req.headers, status: 0, sent: 0, closed: undefined };
    this.requests.push(entry);
    entry.closed = new Promise((resolve) => res.once("close", resolve));
    entry.break = () => res.destroy();
    res.once("close", () => (entry.status = res.statusCode));
    if (path === "/") {
      res.setHeader("content-type", "text/html; charset=utf-8");
      res.end(BLANK);
      return true;
    }
    const file = this.#files.get(path);
    if (file === undefined) return false;
    await send(req, res, file, entry);
    return true;
  }
}

async function send(req, res, file, entry) {
  const { bytes, etag, type = "application/octet-stream", status = 200, headers = {}, ranges = true, chunked } = file;
  const extra = typeof headers === "function" ? headers() : headers;
  for (const [name, value] of Object.entries(extra)) res.setHeader(name, value);
  if (req.method === "OPTIONS") return void res.writeHead(204).end();
  res.setHeader("content-type", type);
  if (etag) res.setHeader("etag", etag);
  if (ranges) res.setHeader("accept-ranges", "bytes");
  const { range, ifRange } = entry;
  const asked = ranges && status === 200 ? /^bytes=(\d+)-$/.exec(range ?? "") : null;
  const partial = asked !== null && (ifRange === undefined || ifRange === etag);
  const start = partial ? Number(asked[1]) : 0;
  if (partial && start >= bytes.length) {
    res.setHeader("content-range", `bytes */${bytes.length}`);
    return void res.writeHead(416).end();
  }
  if (partial) res.setHeader("content-range", `bytes ${start}-${bytes.length - 1}/${bytes.length}`);
  if (!chunked) res.setHeader("content-length", bytes.length - start);
  res.writeHead(partial ? 206 : status);
  if (req.method === "HEAD") return void res.end();
  await body(res, file, start, entry);
}

async function body(res, file, start, entry) {
  const { bytes, rate, hold } = file;
  // A number counts for every answer, an array for one answer each.
  const cut = typeof file.cut === "number" ? file.cut : file.cuts.shift();
  let stopped = false;
  res.once("close", () => (stopped = true));
  const end = Math.min(bytes.length, cut === undefined ? Infinity : start + cut, hold ?? Infinity);
  let at = start;
  while (at < end && !stopped) {
    const piece = bytes.subarray(at, Math.min(at + PIECE, end));
    at += piece.length;
    await new Promise((resolve) => {
      res.once("close", resolve);
      res.write(piece, () => {
        res.off("close", resolve);
        resolve();
      });
    });
    entry.sent = at - start;
    if (rate) await delay((piece.length / rate) * 1000);
  }
  if (stopped) return;
  if (cut !== undefined && at < bytes.length) res.destroy();
  else if (hold !== undefined && at < bytes.length) await entry.closed;
  else res.end();
}
