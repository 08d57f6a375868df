import type { GatewayRecord } from './record.js';
import type { Reading } from './step.js';
import { type Answer, field } from './transport.js';

/** Seconds for which a client waits at most because somebody in between says so. */
const longestFloor = 3600;

/** Reads an answer, or the lack of one. */
export function read(answer: Answer | undefined, now: number): Reading {
  if (!answer) return { status: 0, whole: false, floor: 0 };
  const reading: Reading = { status: answer.status, whole: answer.whole, floor: floorOf(answer, now) };
  const state = field(answer, 'idempotency-state') ?? '';
  if (!/^[a-z_]+$/.test(state)) return reading; // also two of them, which fetch joins with a comma
  reading.state = state;
  const next = field(answer, 'idempotency-next');
  if (next !== undefined) reading.next = next;
  const code = (json(answer) as { code?: unknown } | null)?.code;
  if (typeof code === 'string' && answer.status >= 400) reading.code = code;
  return reading;
}

/** Reads the answer to POST /query: for each key, what an answer about that key alone would have said. */
export function readQuery(answer: Answer | undefined, now: number): (key: string) => Reading {
  const all = read(answer, now);
  if (!answer || all.state === undefined || all.status !== 200) return () => all;
  const nothing: Reading = { status: 0, whole: false, floor: all.floor };
  const content = answer.whole ? (json(answer) as { records?: { key: string; state: string; next: string }[]; unseen?: string[] } | null) : null;
  const records = new Map(content?.records?.map((r) => [r.key, r]));
  return (key) => {
    const record = records.get(key);
    if (record) return { ...all, state: record.state, next: record.next };
    return content?.unseen?.includes(key) ? { ...all, status: 404, state: 'unseen', next: 'resend' } : nothing;
  };
}

/** The answer that a gateway's record holds, as the gateway would have replayed it. */
export function replayed(answer: Answer): Answer | undefined {
  if (read(answer, 0).state !== 'completed' || !answer.whole) return undefined;
  const response = (json(answer) as GatewayRecord | null)?.response;
  if (!response?.headers || response.body === undefined) return undefined;
  const ours: [string, string][] = [['idempotency-state', 'replayed'], ['idempotency-next', 'done'], ['idempotent-replayed', 'true']];
  const headers = Object.entries(response.headers).flatMap(([name, values]) => values.map((v): [string, string] => [name.toLowerCase(), v]));
  const body = response.body_encoding === 'base64' ? Uint8Array.from(atob(response.body), (c) => c.charCodeAt(0)) : new TextEncoder().encode(response.body);
  return { status: response.status, headers: [...headers, ...ours], body, whole: true };
}

function json(answer: Answer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(answer.body));
  } catch {
    return null;
  }
}

/** The seconds that Retry-After asks for (RFC 9110 section 10.2.3). A date counts by the clock that the answer shows, if it shows one. */
function floorOf(answer: Answer, now: number): number {
  const value = field(answer, 'retry-after') ?? '';
  const date = Date.parse(field(answer, 'date') ?? '');
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - (Number.isNaN(date) ? now : date)) / 1000;
  return Math.min(longestFloor, Math.max(0, seconds) || 0);
}
