import type { Progress } from './step.js';

/** An intent of the user, as it is kept. It holds no credentials: those are added to each attempt. */
export interface Entry {
  key: string;
  created: number; // milliseconds since 1970
  request: SavedRequest;
  progress: Progress;
  /** The answer that settled it, if there is one. */
  answer?: SavedAnswer;
}

export interface SavedRequest {
  method: string;
  url: string;
  headers: [name: string, value: string][];
  body: Uint8Array<ArrayBuffer> | null;
}

export interface SavedAnswer {
  status: number;
  headers: [name: string, value: string][];
  body: Uint8Array<ArrayBuffer>;
}

/**
 * Keeps entries. A change is on the disk, as far as this outbox has one, when its promise resolves.
 */
export interface Outbox {
  /** Adds an entry, and reports false if its key is there already. */
  add(entry: Entry): Promise<boolean>;
  /** Replaces an entry in one step, no other change between reading and writing. Undefined in: none; undefined out: remove it. */
  update(key: string, change: (entry: Entry) => Entry | undefined): Promise<void>;
  get(key: string): Promise<Entry | undefined>;
  /** All entries, by their time of creation. */
  all(): Promise<Entry[]>;
}

/** An outbox that ends with the process. */
export class MemoryOutbox implements Outbox {
  #entries = new Map<string, Entry>();

  async add(entry: Entry): Promise<boolean> {
    if (this.#entries.has(entry.key)) return false;
    this.#entries.set(entry.key, entry);
    return true;
  }

  async update(key: string, change: (entry: Entry) => Entry | undefined): Promise<void> {
    const entry = this.#entries.get(key);
    if (!entry) return;
    const changed = change(entry);
    if (changed) this.#entries.set(key, changed);
    else this.#entries.delete(key);
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#entries.get(key);
  }

  async all(): Promise<Entry[]> {
    return [...this.#entries.values()].sort((a, b) => a.created - b.created);
  }
}
