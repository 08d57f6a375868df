import { read } from './reading.js';
import type { GatewayRecord } from './record.js';
import { EventParser, type ServerEvent } from './sse.js';
import { type Backoff, jittered, pause } from './time.js';
import { type Connection, prepare, reconciliation } from './transport.js';

/** What a reader of the feed learns. Keep the cursor with what you made of the change, and begin there the next time. */
export type Change =
  /** A record has changed; this is its latest state, not what is new in it. */
  | { type: 'request'; record: GatewayRecord; cursor: string }
  /** Nothing is left out up to here. */
  | { type: 'sync'; caughtUp: boolean; cursor: string }
  /** The cursor has expired: forget what you have. All records follow from the start. */
  | { type: 'reset' };

export interface FeedOptions extends Connection {
  /** Where to begin: a cursor, or "" for the start. */
  since?: string;
  /** Only records in this state, or in any of these; those that leave them are told, too. */
  state?: string | readonly string[];
  /** Ends the feed. */
  signal?: AbortSignal;
  /** Milliseconds without a word after which a connection counts as dead. The gateway speaks every 15 s. Default: 45,000. */
  silence?: number;
  /** Between two connections: a random time up to base × 2ⁿ milliseconds, at most max. Default: 500 and 30,000. */
  backoff?: Backoff;
  random?: () => number;
}

/** The gateway refuses the feed, and asking again cannot help. */
export class FeedRefused extends Error {
  override readonly name = 'FeedRefused';
  readonly status: number;
  constructor(status: number) {
    super(`the gateway refuses the feed with status ${status}`);
    this.status = status;
  }
}

/**
 * Follows the changes of the caller's records over any number of connections, from a cursor on, and misses none. It
 * ends with the signal, and throws FeedRefused if it can never go on.
 */
export async function* changes(options: FeedOptions): AsyncGenerator<Change, void, undefined> {
  const stop = options.signal ?? new AbortController().signal;
  const backoff = options.backoff ?? { base: 500, max: 30_000 };
  let cursor = options.since ?? '';
  const credentials = { denied: false };
  for (let failures = 0, floor = 0; !stop.aborted; ) {
    const parser = new EventParser();
    try {
      for await (const event of connect(options, credentials, cursor, parser, stop)) {
        if (event.event === 'bye') break;
        if (event.event === 'reset') {
          cursor = event.id;
          yield { type: 'reset' };
          continue;
        }
        const change = changeOf(event);
        if (!change) continue;
        failures = 0;
        yield change; // first: the cursor moves when the reader has taken the change
        cursor = event.id;
      }
      floor = parser.retry;
    } catch (error) {
      if (error instanceof FeedRefused) throw error;
      floor = error instanceof Later ? error.floor : parser.retry;
    }
    if (!stop.aborted) await pause(Math.max(floor, jittered(failures++, backoff, options.random ?? Math.random)), stop);
  }
}

/** No stream now, but one may come. */
class Later extends Error {
  readonly floor: number; // milliseconds
  constructor(floor = 0) {
    super('later');
    this.floor = floor;
  }
}

/** The events of one connection. */
async function* connect(options: FeedOptions, credentials: { denied: boolean }, cursor: string, parser: EventParser, stop: AbortSignal): AsyncGenerator<ServerEvent> {
  const url = reconciliation(options, '/requests');
  for (const state of [options.state || []].flat()) url.searchParams.append('state', state);
  const headers: [string, string][] = [['accept', 'text/event-stream']];
  if (cursor) headers.push(['last-event-id', cursor]);
  const request = await prepare(options, { method: 'GET', url: url.href, headers }, credentials.denied);
  const hangUp = new AbortController();
  let silence: ReturnType<typeof setTimeout> | undefined;
  const end = () => {
    clearTimeout(silence);
    hangUp.abort();
  };
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(end, options.silence ?? 45_000);
  };
  stop.addEventListener('abort', end);
  if (stop.aborted) end();
  try {
    heard();
    const response = await (options.fetch ?? fetch)(request, { signal: hangUp.signal });
    if (response.status !== 200) {
      const again = credentials.denied;
      credentials.denied = response.status === 401;
      return yield refusal(response, again);
    }
    if (!isStream(response)) throw new Later();
    credentials.denied = false;
    const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      heard();
      const { done, value } = await text.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    stop.removeEventListener('abort', end);
    end();
  }
}

function isStream(response: Response): response is Response & { body: ReadableStream<Uint8Array<ArrayBuffer>> } {
  return response.headers.has('idempotency-state') && /^text\/event-stream\b/.test(response.headers.get('content-type') ?? '') && response.body !== null;
}

/** What an answer that is no stream means, once the last credentials were denied or not. One that is not the gateway's own proves nothing. */
function refusal(response: Response, denied: boolean): ServerEvent {
  const { status, state, next, floor } = read({ status: response.status, headers: [...response.headers], body: new Uint8Array(), whole: false }, Date.now());
  if (state && status === 410) return { event: 'reset', data: '', id: '' };
  if (state && next === 'stop' && (denied || status !== 401)) throw new FeedRefused(status);
  throw new Later(floor * 1000);
}

function changeOf(event: ServerEvent): Change | undefined {
  const data: unknown = JSON.parse(event.data);
  switch (event.event) {
    case 'request':
      return { type: 'request', record: data as GatewayRecord, cursor: event.id };
    case 'sync':
      return { type: 'sync', caughtUp: (data as { caught_up: boolean }).caught_up, cursor: event.id };
    default:
      return undefined; // of a later version
  }
}
