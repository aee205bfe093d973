// The origin's private file system: the folder `wisplm`, and the short texts in it that are no downloads.

const FOLDER = "wisplm";

/** The part of the file system's interface in use; TypeScript's own has it for workers only. */
export interface SyncFile {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

export interface FileHandle {
  getFile(): Promise<Blob>;
  createSyncAccessHandle(options?: { mode: "read-only" }): Promise<SyncFile>;
}

export interface Folder {
  getFileHandle(name: string, options?: { create?: boolean }): Promise<FileHandle>;
  getDirectoryHandle(name: string, options?: { create?: boolean }): Promise<Folder>;
  removeEntry(name: string): Promise<void>;
}

export interface Storage {
  getDirectory(): Promise<Folder>;
  estimate?(): Promise<{ quota?: number; usage?: number }>;
}

/** Throws where there is no such file system. */
export async function openFolder(storage: Storage): Promise<Folder> {
  return (await storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

/** Texts by name. Where they cannot be kept, they are not: a file system that fails is the downloads' business. */
export class Texts {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async get(name: string): Promise<string | undefined> {
    try {
      const folder = await openFolder(this.#storage);
      return await (await (await folder.getFileHandle(await fileOf(name))).getFile()).text();
    } catch {
      return undefined;
    }
  }

  /** In a worker. */
  async keep(name: string, text: string): Promise<void> {
    try {
      const folder = await openFolder(this.#storage);
      await writeText(await folder.getFileHandle(await fileOf(name), { create: true }), text);
    } catch {
      // There is none, then.
    }
  }

  async remove(name: string): Promise<void> {
    try {
      await (await openFolder(this.#storage)).removeEntry(await fileOf(name));
    } catch {
      // There was none.
    }
  }
}

async function fileOf(name: string): Promise<string> {
  return `${await keyOf(name)}.text`;
}

/** A file's name, which says nothing. */
export async function keyOf(name: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  return Array.from(new Uint8Array(digest, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function writeText(handle: FileHandle, text: string): Promise<void> {
  const file = await handle.createSyncAccessHandle();
  try {
    file.truncate(0);
    put(file, new TextEncoder().encode(text), 0);
    file.flush();
  } finally {
    file.close();
  }
}

// A full disk shows as an exception or as a short count.
export function put(file: SyncFile, bytes: Uint8Array, at: number): void {
  const written = file.write(bytes, { at });
  if (written !== bytes.length) throw new Error(`only ${written} of ${bytes.length} bytes could be written`);
}
