import { pause } from './time.js';

/** What a client of the gateway is made with; all but the gateway's address may be left out. */
export interface Connection {
  /** Where the gateway is: its origin, as "https://api.example". Requests go nowhere else. */
  gateway: string | URL;
  /** Base path of the gateway's reconciliation API. Default: "/_reconcile/v1". */
  basePath?: string;
  /**
   * Returns the header fields that say who is asking. It is called before every single attempt, so that a fresh token
   * is used, and what it returns is never stored. With denied, the last attempt was answered with 401: get a new one.
   */
  authorize?: (request: { method: string; url: string; denied: boolean }) => HeadersInit | Promise<HeadersInit>;
  /** Whether cookies go along. Default: "same-origin". */
  credentials?: RequestCredentials;
  fetch?: typeof globalThis.fetch;
}

/** An answer, as far as it came. */
export interface Answer {
  status: number;
  headers: [name: string, value: string][]; // names in lower case
  body: Uint8Array<ArrayBuffer>; // empty if it is not whole
  whole: boolean; // its end was seen
}

/** A request without what authorize adds. */
export interface Call {
  method: string;
  url: string; // absolute or relative to the gateway
  headers?: [name: string, value: string][];
  body?: Uint8Array<ArrayBuffer> | null;
}

/** The value of a header field of an answer. */
export function field(answer: Answer, name: string): string | undefined {
  return answer.headers.find(([n]) => n === name)?.[1];
}

/** The address of something of the gateway's. An address elsewhere is an error: what authorize returns must not go there. */
export function addressOf(connection: Connection, path: string): URL {
  const gateway = new URL(connection.gateway);
  const url = new URL(path, gateway);
  if (url.origin !== gateway.origin) throw new TypeError(`${url.origin} is not the gateway's origin, ${gateway.origin}`);
  return url;
}

/** The address of a part of the reconciliation API. */
export function reconciliation(connection: Connection, path: string): URL {
  return addressOf(connection, (connection.basePath ?? '/_reconcile/v1') + path);
}

/** Makes what one attempt sends. It throws what authorize throws; nothing has been sent then. */
export async function prepare(connection: Connection, call: Call, denied = false): Promise<Request> {
  const url = addressOf(connection, call.url).href;
  const headers = new Headers(call.headers);
  const own = await connection.authorize?.({ method: call.method, url, denied });
  new Headers(own).forEach((value, name) => headers.set(name, value));
  return new Request(url, {
    method: call.method,
    headers,
    body: call.body ?? null,
    credentials: connection.credentials ?? 'same-origin',
    cache: 'no-store',
    redirect: 'manual', // a redirect is the backend's answer; following it would send the request to somewhere else
  });
}

/**
 * Makes one attempt: one call of fetch. Undefined means that there was no answer that may be read within so many
 * milliseconds, or before one of the signals: nobody can tell how far the request came. An answer of another origin
 * without CORS is such. Of a redirect, a browser says only that it is one.
 */
export async function attempt(connection: Connection, request: Request, timeout: number, ...stop: AbortSignal[]): Promise<Answer | 'redirect' | undefined> {
  const abort = new AbortController();
  const over = new AbortController();
  void pause(timeout, over.signal, ...stop).then(() => abort.abort());
  try {
    const response = await (connection.fetch ?? fetch)(request, { signal: abort.signal });
    if (response.type === 'opaqueredirect') return 'redirect';
    const head = { status: response.status, headers: [...response.headers] };
    if (response.type === 'opaque') return undefined;
    try {
      return { ...head, body: new Uint8Array(await response.arrayBuffer()), whole: true };
    } catch {
      return { ...head, body: new Uint8Array(), whole: false };
    }
  } catch {
    return undefined;
  } finally {
    over.abort();
  }
}
