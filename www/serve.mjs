// A small static server for the demo and the browser tests: node's own modules, nothing installed.
//
//   node www/serve.mjs [--port 8080] [--host 127.0.0.1] [--no-isolation]
//
// It exists because the page needs three folders under one origin (the page, the package, the models), and because
// a model download that can be resumed and revalidated needs a server that honours Range, If-Range and ETag.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { homedir } from "node:os";
import { extname, join, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url));

const types = {
  ".css": "text/css; charset=utf-8",
  ".gguf": "application/octet-stream",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".map": "application/json; charset=utf-8",
  ".md": "text/markdown; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".ts": "text/plain; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
};

// Cross-origin isolation is what gives a page shared memory, and so threads.
const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** The folder that `make models` fills: `$WISPLM_MODELS`, or a folder in the user's cache. */
export function modelsFolder() {
  return process.env.WISPLM_MODELS || join(homedir(), ".cache", "wisplm", "models");
}

/** URL prefix → folder, as the demo expects them. */
export function demoMounts() {
  return { "/": here, "/pkg/": resolve(here, "../pkg/dist"), "/models/": modelsFolder() };
}

/**
 * Starts a server and resolves when it listens.
 *
 * - `port`: 0 picks a free one.
 * - `isolate`: send COOP and COEP, so that the page is cross-origin isolated.
 * - `mounts`: URL prefix (ending in "/") → folder; the longest prefix that fits wins.
 * - `headers`: added to every answer.
 * - `onRequest(req, res)`: called first, may be async; returning true means it has answered (or will).
 *
 * Returns `{ url, port, server, close() }`; `url` ends in "/"; `close()` also drops open connections.
 */
export async function serve({
  port = 0,
  host = "127.0.0.1",
  isolate = true,
  mounts = demoMounts(),
  headers = {},
  onRequest,
} = {}) {
  const table = Object.entries(mounts)
    .map(([prefix, folder]) => ({ prefix, folder: resolve(folder) }))
    .sort((a, b) => b.prefix.length - a.prefix.length);

  const server = createServer(async (req, res) => {
    try {
      const common = { ...(isolate ? isolation : {}), ...headers };
      for (const [name, value] of Object.entries(common)) res.setHeader(name, value);
      if (onRequest && (await onRequest(req, res)) === true) return;
      await answer(req, res, table);
    } catch (error) {
      if (res.headersSent) res.destroy();
      else refuse(res, 500, "Internal server error");
    }
  });

  await new Promise((done, failed) => {
    server.once("error", failed);
    server.listen(port, host, done);
  });
  const bound = server.address().port;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}/`,
    port: bound,
    server,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

async function answer(req, res, table) {
  if (req.method !== "GET" && req.method !== "HEAD") {
    res.setHeader("allow", "GET, HEAD");
    return refuse(res, 405, "Only GET and HEAD are answered here");
  }
  const query = req.url.indexOf("?");
  const rawPath = query < 0 ? req.url : req.url.slice(0, query);
  const found = locate(rawPath, table);
  if (!found) return refuse(res, 400, "Not a path this server can read");

  let path = found;
  let info = await statOrNull(path);
  if (info?.isDirectory()) {
    // Without the slash, the page's relative addresses would point one folder too high.
    if (!rawPath.endsWith("/")) {
      res.writeHead(301, { location: `${rawPath.replace(/^\/+/, "/")}/${query < 0 ? "" : req.url.slice(query)}` });
      return res.end();
    }
    path = join(path, "index.html");
    info = await statOrNull(path);
  }
  if (!info?.isFile()) return refuse(res, 404, "Not found");
  await sendFile(req, res, path, info);
}

/** The file a URL path names, or null when the path is malformed or leaves its folder. */
function locate(rawPath, table) {
  let path;
  try {
    path = decodeURIComponent(rawPath);
  } catch {
    return null;
  }
  if (!path.startsWith("/") || path.includes("\0") || path.includes("\\")) return null;
  if (path.split("/").includes("..")) return null;
  // "/pkg" is the folder of "/pkg/", so that it can be redirected there.
  const mount = table.find(({ prefix }) => path.startsWith(prefix) || `${path}/` === prefix);
  if (!mount) return null;
  const file = resolve(mount.folder, `./${path.slice(mount.prefix.length)}`);
  return file === mount.folder || file.startsWith(mount.folder + sep) ? file : null;
}

async function statOrNull(path) {
  try {
    return await stat(path);
  } catch {
    return null;
  }
}

async function sendFile(req, res, path, info) {
  const etag = `"${info.size.toString(16)}-${Math.trunc(info.mtimeMs).toString(16)}"`;
  const modified = info.mtime.toUTCString();
  res.setHeader("etag", etag);
  res.setHeader("last-modified", modified);
  res.setHeader("accept-ranges", "bytes");
  // Kept, but asked for again each time: an edit or a new build shows at the next reload.
  res.setHeader("cache-control", "no-cache");

  if (isFresh(req, etag, info)) {
    res.writeHead(304);
    return res.end();
  }

  res.setHeader("content-type", types[extname(path).toLowerCase()] ?? "application/octet-stream");
  let start = 0;
  let end = info.size - 1;
  let status = 200;
  const range = wantsRange(req, etag, modified) ? parseRange(req.headers.range, info.size) : undefined;
  if (range === null) {
    res.setHeader("content-range", `bytes */${info.size}`);
    return refuse(res, 416, "That range is not in the file");
  }
  if (range) {
    ({ start, end } = range);
    status = 206;
    res.setHeader("content-range", `bytes ${start}-${end}/${info.size}`);
  }
  res.setHeader("content-length", end - start + 1);
  res.writeHead(status);
  if (req.method === "HEAD" || info.size === 0) return res.end();
  try {
    await pipeline(createReadStream(path, { start, end, highWaterMark: 256 * 1024 }), res);
  } catch (error) {
    // A reader that goes away in the middle is what a cancelled download looks like.
    if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  }
}

function isFresh(req, etag, info) {
  const tags = req.headers["if-none-match"];
  if (tags !== undefined) {
    return tags.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
  }
  const since = Date.parse(req.headers["if-modified-since"] ?? "");
  return Number.isFinite(since) && Math.trunc(info.mtimeMs / 1000) * 1000 <= since;
}

/** A Range header counts unless If-Range names another version of the file. */
function wantsRange(req, etag, modified) {
  if (req.headers.range === undefined) return false;
  const condition = req.headers["if-range"];
  return condition === undefined || condition === etag || condition === modified;
}

/**
 * One byte range: `{ start, end }` inclusive; null when it lies outside the file; undefined when the header is not a
 * single byte range, in which case the standard lets a server send the whole file.
 */
function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header.trim());
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  if (match[1] === "") {
    const length = Math.min(Number(match[2]), size);
    return length > 0 ? { start: size - length, end: size - 1 } : null;
  }
  const start = Number(match[1]);
  const end = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== "" && Number(match[2]) < start) return undefined;
  return start < size ? { start, end } : null;
}

function refuse(res, status, message) {
  res.setHeader("content-type", "text/plain; charset=utf-8");
  res.setHeader("content-length", Buffer.byteLength(message) + 1);
  res.writeHead(status);
  // For HEAD node sends the headers and drops the body.
  res.end(`${message}\n`);
}

async function main() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8080" },
      host: { type: "string", default: "127.0.0.1" },
      "no-isolation": { type: "boolean", default: false },
    },
  });
  const isolate = !values["no-isolation"];
  const mounts = demoMounts();
  const { url } = await serve({ port: Number(values.port), host: values.host, isolate, mounts });
  console.log(`wisplm demo: ${url}  (${isolate ? "cross-origin isolated" : "not isolated"}; Ctrl+C stops it)`);
  if (!(await statOrNull(join(mounts["/pkg/"], "index.js")))) {
    console.log(`The package is not built yet (${mounts["/pkg/"]}): run \`make build\`.`);
  }
  if (!(await statOrNull(mounts["/models/"]))) {
    console.log(`There is no models folder (${mounts["/models/"]}): run \`make models\`.`);
  }
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    const remedy = error.code === "EADDRINUSE" ? " Give another one with --port." : "";
    console.error(`www/serve.mjs: ${error.message}.${remedy}`);
    process.exitCode = 1;
  });
}
