// Downloads kept in the origin's private file system, in the folder `wisplm`.
//
// A download is two files: the bytes, and a small JSON file that says what they are. Bytes count as the whole file only
// when the JSON says so, which is written last, and when their number is right. A JSON file torn by a crash does not
// parse, and then there is no download.

import { type Folder, keyOf, openFolder, put, type Storage, type SyncFile, writeText } from "../storage.js";
import type { Version } from "./download.js";

const FORMAT = 1;
/** How often an unfinished download is made durable: what a crash may cost. */
const CHECKPOINT_MS = 1000;

interface Note extends Version {
  format: typeof FORMAT;
  url: string;
  complete: boolean;
  /** Of an unfinished download: so many bytes are on the disk. */
  durable: number;
  /** Of the whole file, where it has been computed. */
  sha256?: string;
}

export class Cache {
  readonly #folder: Folder;
  readonly #storage: Storage;

  private constructor(folder: Folder, storage: Storage) {
    this.#folder = folder;
    this.#storage = storage;
  }

  /** Throws where there is no such file system. */
  static async open(storage: Storage): Promise<Cache> {
    return new Cache(await openFolder(storage), storage);
  }

  async entry(url: string): Promise<Entry> {
    return new Entry(this.#folder, await keyOf(url), url);
  }

  /** Bytes that may still be stored; unknown is no limit. */
  async free(): Promise<number> {
    const estimate = await this.#storage.estimate?.().catch(() => undefined);
    return estimate?.quota === undefined ? Infinity : estimate.quota - (estimate.usage ?? 0);
  }
}

/** A whole file. */
export interface Whole {
  file: Blob;
  sha256?: string;
}

/** What there is of a file. */
export interface Part {
  bytes: number;
  version: Version;
}

export class Entry {
  readonly key: string;
  readonly #folder: Folder;
  readonly #url: string;

  constructor(folder: Folder, key: string, url: string) {
    this.#folder = folder;
    this.key = key;
    this.#url = url;
  }

  async whole(): Promise<Whole | undefined> {
    const note = await this.#note();
    if (!note?.complete) return undefined;
    const file = await this.#data();
    if (file === undefined || file.size !== note.size) return undefined;
    return { file, ...(note.sha256 !== undefined && { sha256: note.sha256 }) };
  }

  /** Opens a whole file to be read in place; `undefined` where another tab has it and the browser allows one reader. */
  async reader(): Promise<SyncFile | undefined> {
    try {
      const handle = await this.#folder.getFileHandle(`${this.key}.data`);
      return await handle.createSyncAccessHandle({ mode: "read-only" });
    } catch {
      return undefined;
    }
  }

  async part(): Promise<Part | undefined> {
    const note = await this.#note();
    if (note === undefined || note.complete) return undefined;
    const bytes = Math.min(note.durable, (await this.#data())?.size ?? 0);
    return bytes === 0 ? undefined : { bytes, version: versionOf(note) };
  }

  /** Notes the hash of a whole file, computed since. */
  async confirm(sha256: string): Promise<void> {
    const note = await this.#note();
    if (note?.complete) await this.#write({ ...note, sha256 });
  }

  /** Writes the file from `offset` on; what there is beyond it goes. Only the holder of the entry's lock may. */
  async writer(version: Version, offset: number): Promise<Writer> {
    const handle = await this.#folder.getFileHandle(`${this.key}.data`, { create: true });
    const data = await handle.createSyncAccessHandle();
    try {
      data.truncate(offset);
      const note: Note = { format: FORMAT, url: this.#url, ...version, complete: false, durable: offset };
      await this.#write(note);
      return new Writer(data, offset, note, (changed) => this.#write(changed), () => this.drop());
    } catch (error) {
      data.close();
      throw error;
    }
  }

  async drop(): Promise<void> {
    // The note first: bytes without one are nothing.
    await this.#folder.removeEntry(`${this.key}.json`).catch(() => {});
    await this.#folder.removeEntry(`${this.key}.data`).catch(() => {});
  }

  async #data(): Promise<Blob | undefined> {
    try {
      return await (await this.#folder.getFileHandle(`${this.key}.data`)).getFile();
    } catch {
      return undefined;
    }
  }

  async #note(): Promise<Note | undefined> {
    try {
      const file = await (await this.#folder.getFileHandle(`${this.key}.json`)).getFile();
      const note = JSON.parse(await file.text()) as Note;
      return note.format === FORMAT && note.url === this.#url ? note : undefined;
    } catch {
      return undefined;
    }
  }

  async #write(note: Note): Promise<void> {
    await writeText(await this.#folder.getFileHandle(`${this.key}.json`, { create: true }), JSON.stringify(note));
  }
}

export class Writer {
  readonly #data: SyncFile;
  readonly #save: (note: Note) => Promise<void>;
  readonly #drop: () => Promise<void>;
  readonly #note: Note;
  #position: number;
  #checkpoint = Date.now();
  #open = true;

  constructor(
    data: SyncFile,
    offset: number,
    note: Note,
    save: (note: Note) => Promise<void>,
    drop: () => Promise<void>,
  ) {
    this.#data = data;
    this.#position = offset;
    this.#note = note;
    this.#save = save;
    this.#drop = drop;
  }

  /** Reads back what an earlier session wrote. */
  read(into: Uint8Array, at: number): number {
    return this.#data.read(into, { at });
  }

  async write(bytes: Uint8Array): Promise<void> {
    put(this.#data, bytes, this.#position);
    this.#position += bytes.length;
    if (Date.now() - this.#checkpoint >= CHECKPOINT_MS) await this.#makeDurable();
  }

  /** The file is whole. */
  async commit(sha256: string | undefined): Promise<void> {
    this.#data.flush();
    this.#close();
    const { durable: _, ...note } = this.#note;
    await this.#save({
      ...{ ...note, durable: this.#position, complete: true, size: this.#position },
      ...(sha256 !== undefined && { sha256 }),
    });
  }

  /** Leaves what there is to a later session. */
  async leave(): Promise<void> {
    if (!this.#open) return;
    try {
      await this.#makeDurable();
    } finally {
      this.#close();
    }
  }

  /** What there is, is of no use. */
  async drop(): Promise<void> {
    this.#close();
    await this.#drop();
  }

  async #makeDurable(): Promise<void> {
    this.#data.flush();
    await this.#save({ ...this.#note, durable: this.#position });
    this.#checkpoint = Date.now();
  }

  #close(): void {
    if (this.#open) this.#data.close();
    this.#open = false;
  }
}

function versionOf({ etag, lastModified, size }: Note): Version {
  return {
    ...(etag !== undefined && { etag }),
    ...(lastModified !== undefined && { lastModified }),
    ...(size !== undefined && { size }),
  };
}

/** Takes a lock if it is free; returns what gives it back, and resolves once it is free again. */
export async function lock(
  locks: Pick<LockManager, "request"> | undefined,
  key: string,
  mode: LockMode,
): Promise<(() => Promise<void>) | undefined> {
  // Without Web Locks every lock is free.
  if (locks === undefined) return async () => {};
  return new Promise((resolve, reject) => {
    const over: Promise<unknown> = locks.request(`wisplm:${key}`, { mode, ifAvailable: true }, (held) => {
      if (held === null) return resolve(undefined);
      return new Promise<void>((free) => {
        resolve(async () => {
          free();
          await over;
        });
      });
    });
    over.catch(reject);
  });
}
