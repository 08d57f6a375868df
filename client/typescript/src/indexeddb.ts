import type { Entry, Outbox } from './outbox.js';

/**
 * An outbox in IndexedDB, shared by all tabs of an origin. A write is on the disk when its promise resolves: a request that
 * was only in the browser's memory would be forgotten with the power, after its first byte had left.
 */
export class IndexedDBOutbox implements Outbox {
  #name: string;
  #database: Promise<IDBDatabase> | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  async add(entry: Entry): Promise<boolean> {
    try {
      await this.#write((entries) => entries.add(entry));
      return true;
    } catch (error) {
      if (error instanceof DOMException && error.name === 'ConstraintError') return false;
      throw error;
    }
  }

  update(key: string, change: (entry: Entry) => Entry | undefined): Promise<void> {
    return this.#write((entries) => {
      const found: IDBRequest<Entry | undefined> = entries.get(key);
      found.onsuccess = () => {
        if (!found.result) return;
        const changed = change(found.result);
        if (changed) entries.put(changed);
        else entries.delete(key);
      };
    });
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#read((entries) => entries.get(key));
  }

  async all(): Promise<Entry[]> {
    const all = await this.#read<Entry[]>((entries) => entries.getAll());
    return all.sort((a, b) => a.created - b.created);
  }

  async #read<T>(ask: (entries: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const transaction = (await this.#open()).transaction('entries', 'readonly');
    const request = ask(transaction.objectStore('entries'));
    await committed(transaction);
    return request.result;
  }

  async #write(change: (entries: IDBObjectStore) => void): Promise<void> {
    const transaction = (await this.#open()).transaction('entries', 'readwrite', { durability: 'strict' });
    change(transaction.objectStore('entries'));
    await committed(transaction);
  }

  #open(): Promise<IDBDatabase> {
    this.#database ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore('entries', { keyPath: 'key' });
      request.onerror = () => {
        this.#database = undefined; // the next call tries again
        reject(request.error);
      };
      request.onsuccess = () => {
        // A browser may close it (site data cleared), and a newer version of the page may want to change it.
        request.result.onclose = () => (this.#database = undefined);
        request.result.onversionchange = () => {
          request.result.close();
          this.#database = undefined;
        };
        resolve(request.result);
      };
    });
    return this.#database;
  }
}

function committed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
