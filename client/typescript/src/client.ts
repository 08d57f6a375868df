import { IndexedDBOutbox } from './indexeddb.js';
import { newKey } from './key.js';
import { defaultLock, type Lock } from './lock.js';
import { type Entry, MemoryOutbox, type Outbox, type SavedRequest } from './outbox.js';
import { type Outcome, type Reading, wish } from './step.js';
import { aborted, pause } from './time.js';
import { addressOf, type Connection } from './transport.js';
import { type Manners, Worker } from './worker.js';

export interface ClientOptions extends Connection, Manners {
  /** Of the outbox and of its lock: all tabs of an origin that say the same name share them. Default: "onceway". */
  name?: string;
  /** Default: in IndexedDB where there is one, else in memory. */
  outbox?: Outbox;
  lock?: Lock;
  /** How often who waits looks into the outbox, as the tab that worked may have died before it told. Milliseconds, default: 5000. */
  lookEvery?: number;
  /**
   * Called when an intent is left alone until resume: credentials were refused twice, the gateway's address is wrong, or (the
   * reading's state is "unseen") requests are answered by somebody else and the gateway has not seen them.
   */
  onHalt?: (key: string, reading: Reading) => void;
  /** Called with what the outbox or authorize threw in the background. It is tried again. */
  onError?: (error: unknown) => void;
}

/** What the user wants: a request as fetch takes it. */
export interface Intent {
  /** Of the intent, not of an attempt. Default: a new UUIDv7. Give your own to find the intent again after a reload. */
  key?: string;
  method?: string; // default: POST
  headers?: HeadersInit; // no credentials: those are authorize's
  body?: BodyInit | null;
}

/** How an intent ended. */
export interface Result {
  key: string;
  outcome: Outcome;
  /** The backend's answer, or the gateway's reason for a refusal. Executed without one: the gateway has forgotten it. */
  response?: Response;
}

/** What the tabs of an origin tell each other: that an entry was changed, or that it is time to try again (resume: also what was halted). */
type News = { key: string; wished?: boolean; settled?: boolean } | 'wake' | 'resume';

/**
 * Carries out each intent of the user once: what is submitted is kept until it is settled, over reloads, crashes and
 * days without a network. Of all tabs, one works at a time; results reach every tab that waits for them.
 */
export class Client {
  #options: ClientOptions;
  #outbox: Outbox;
  #channel: BroadcastChannel | undefined;
  #worker: Worker | undefined;
  #listeners = new Map<AbortController, string>();
  #stop = new AbortController();
  #ended: Promise<void>;

  constructor(options: ClientOptions) {
    this.#options = options;
    addressOf(options, ''); // a wrong address is told at once
    const name = options.name ?? 'onceway';
    this.#outbox = options.outbox ?? (typeof indexedDB === 'object' ? new IndexedDBOutbox(name) : new MemoryOutbox());
    if (this.#outbox instanceof IndexedDBOutbox && typeof BroadcastChannel === 'function') {
      this.#channel = new BroadcastChannel(name);
      this.#channel.onmessage = ({ data }: MessageEvent<News>) => this.#hear(data);
    }
    this.#ended = (options.lock ?? defaultLock)(name, this.#stop.signal, () => this.#work());
    this.#ended.catch((error: unknown) => this.#failed(error));
    const { signal } = this.#stop;
    if (typeof addEventListener === 'function') addEventListener('online', () => this.resume(), { signal });
    if (typeof document === 'object') {
      document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.#tell('wake'), { signal });
    }
  }

  /**
   * Carries out an intent. It is in the outbox before its first byte is sent. To submit the same request with the same key again is
   * to wait for the same result; another request with that key is an error.
   */
  async submit(url: string | URL, init: Intent = {}): Promise<Result> {
    const key = init.key ?? newKey();
    if (!/^[\w\-.~:+/=@]{1,255}$/.test(key) || /^\.\.?$/.test(key)) throw new TypeError('a key is 1 to 255 of A-Z a-z 0-9 - . _ ~ : + / = @');
    const entry: Entry = { key, created: Date.now(), request: await save(this.#options, url, init), progress: { state: 'queued', sends: 0 } };
    if (!(await this.#outbox.add(entry))) {
      const there = await this.#outbox.get(key);
      if (there && !same(there.request, entry.request)) throw new TypeError('the key stands for another request');
    }
    this.#tell({ key });
    return this.settled(key);
  }

  /** Waits until an intent is settled, whichever tab works on it. */
  async settled(key: string): Promise<Result> {
    while (!this.#stop.signal.aborted) {
      const news = new AbortController(); // listen first, then look
      this.#listeners.set(news, key);
      try {
        const entry = await this.#outbox.get(key);
        if (!entry) throw new Error('there is no such intent in the outbox');
        if (entry.progress.outcome) return resultOf(entry);
        await pause(this.#options.lookEvery ?? 5000, news.signal);
      } finally {
        this.#listeners.delete(news);
      }
    }
    throw new Error('the client was closed; the intent stays in the outbox');
  }

  /**
   * Forbids an intent, and waits for what became of it: cancelled, unless it was executed before. Then the result is the
   * backend's answer.
   */
  async cancel(key: string): Promise<Result> {
    await this.#wish(key, 'cancel');
    return this.settled(key);
  }

  /**
   * Says that a settled intent is not needed any more. It leaves the outbox, as soon as the gateway has erased the
   * answer, too, if there was one.
   */
  async acknowledge(key: string): Promise<void> {
    const entry = await this.#outbox.get(key);
    if (entry && !entry.progress.outcome) throw new Error('the intent is not settled yet');
    await this.#wish(key, 'acknowledge');
  }

  /** All intents of the outbox, by their time. */
  entries(): Promise<Entry[]> {
    return this.#outbox.all();
  }

  /** Tries at once all that is not settled, also what was halted: after signing in again, say. */
  resume(): void {
    this.#tell('resume');
  }

  /** Ends the client's work in this tab. Another one goes on with it, or the next visit. */
  async close(): Promise<void> {
    this.#stop.abort();
    for (const listener of this.#listeners.keys()) listener.abort();
    await this.#ended.catch(() => {});
    this.#channel?.close();
  }

  async #work(): Promise<void> {
    const worker = new Worker({
      connection: this.#options,
      manners: this.#options,
      outbox: this.#outbox,
      settled: (key) => this.#tell({ key, settled: true }),
      halted: (key, reading) => this.#options.onHalt?.(key, reading),
      failed: (error) => this.#failed(error),
      online: () => typeof navigator !== 'object' || navigator.onLine !== false,
    });
    this.#worker = worker;
    this.#hear('resume');
    await aborted(this.#stop.signal);
    await worker.stop();
  }

  async #wish(key: string, what: 'cancel' | 'acknowledge'): Promise<void> {
    await this.#outbox.update(key, (entry) => {
      const { progress } = wish(entry.progress, what);
      return what === 'acknowledge' && progress.state === 'settled' ? undefined : { ...entry, progress };
    });
    this.#tell({ key, wished: true });
  }

  /** Tells this tab and all others. */
  #tell(news: News): void {
    if (this.#stop.signal.aborted) return;
    this.#channel?.postMessage(news);
    this.#hear(news);
  }

  #hear(news: News): void {
    if (typeof news === 'string') {
      this.#worker?.resume(news === 'resume').catch((error: unknown) => this.#failed(error));
      return;
    }
    if (!news.settled) this.#worker?.look(news.key, news.wished);
    for (const [listener, key] of this.#listeners) if (key === news.key) listener.abort();
  }

  #failed(error: unknown): void {
    if (this.#options.onError) this.#options.onError(error);
    else console.error('onceway:', error);
  }
}

/** Makes what is kept of a request: the same bytes for every attempt. */
async function save(connection: Connection, url: string | URL, { method = 'POST', headers, body = null }: Intent): Promise<SavedRequest> {
  const request = new Request(addressOf(connection, String(url)), { method, headers: headers ?? {}, body });
  if (/^(GET|HEAD)$/.test(request.method)) throw new TypeError(`${request.method} needs no outbox: use fetch`);
  for (const name of ['authorization', 'cookie', 'proxy-authorization']) {
    if (request.headers.has(name)) throw new TypeError(`${name} must not be stored: give the client an authorize function`);
  }
  return { method: request.method, url: request.url, headers: [...request.headers], body: body === null ? null : new Uint8Array(await request.arrayBuffer()) };
}

/** Whether two requests are one to the gateway: method, address, type and encoding of the content, and content. */
function same(a: SavedRequest, b: SavedRequest): boolean {
  const head = (r: SavedRequest) => JSON.stringify([r.method, r.url, ['content-type', 'content-encoding'].map((n) => new Headers(r.headers).get(n))]);
  const [x, y] = [a.body ?? new Uint8Array(), b.body ?? new Uint8Array()];
  return head(a) === head(b) && x.length === y.length && x.every((byte, i) => byte === y[i]);
}

function resultOf({ key, progress, answer }: Entry): Result {
  const result: Result = { key, outcome: progress.outcome! };
  if (answer) {
    const headers = new Headers(answer.headers);
    headers.delete('content-encoding'); // fetch has undone it
    headers.delete('content-length');
    const empty = [101, 204, 205, 304].includes(answer.status);
    result.response = new Response(empty ? null : answer.body, { status: answer.status, headers });
  }
  return result;
}
