import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { read, readQuery } from '#src/reading.js';
import { begin, type CallKind, type Move, type Progress, step, wish } from '#src/step.js';

type Headers = Record<string, string | string[]>;
interface VectorAnswer { status?: number; headers?: Headers; code?: string; cut?: boolean }
interface Want extends Progress { do: Move['do']; floor?: number; authorize?: boolean; answer?: boolean }

const vectors = JSON.parse(readFileSync(new URL('../../../vectors/vectors.json', import.meta.url), 'utf8')) as {
  version: number;
  now: string;
  answers: Record<string, VectorAnswer>;
  begins: { entry: Progress; want: Want }[];
  wishes: { wish: 'cancel' | 'acknowledge'; entry: Progress; want: Want }[];
  steps: { entry: Progress; call: CallKind; answer: string; want: Want }[];
  queries: { name: string; status: number; headers: Headers; cut?: boolean; body: unknown; entries: Record<string, Progress>; want: Record<string, Want> }[];
  records: { entry: Progress; record: { key: string; state: string; next: string }; want: Want }[];
};
const now = Date.parse(vectors.now);

/** A header as fetch shows it: names in lower case, the values of repeated fields joined. */
function fields(headers: Headers = {}): [string, string][] {
  return Object.entries(headers).map(([name, value]) => [name.toLowerCase(), [value].flat().join(', ')]);
}

function wire(a: VectorAnswer) {
  if (!a.status) return undefined;
  const body = new TextEncoder().encode(a.code ? JSON.stringify({ code: a.code }) : '');
  return { status: a.status, headers: fields(a.headers), body, whole: !a.cut };
}

function same(before: Progress, got: Move, want: Want, name: string): void {
  const { do: what, floor = 0, authorize = false, answer = false, ...progress } = want;
  const full = (p: Partial<Progress>) => ({ sends: 0, denied: false, refusal: false, outcome: undefined, ...p });
  const shown = got.do === 'finish' && (got.keep || (before.refusal && got.progress.outcome === 'refused')) === true;
  if (got.progress.refusal && !before.refusal) assert.ok(got.keep, `${name}: the refusal is lost`);
  assert.deepEqual({ ...full(got.progress), do: got.do, floor: got.floor, authorize: got.authorize ?? false, answer: shown }, { ...full(progress), do: what, floor, authorize, answer }, name);
}

test('the vectors are those that this client knows', () => {
  assert.equal(vectors.version, 1);
  const known = ['version', 'now', 'answers', 'begins', 'wishes', 'steps', 'queries', 'records'];
  assert.deepEqual(Object.keys(vectors).filter((k) => !known.includes(k)), []);
});

test('what to do now', () => {
  for (const v of vectors.begins) same(v.entry, begin(v.entry), v.want, JSON.stringify(v.entry));
});

test('wishes', () => {
  for (const v of vectors.wishes) same(v.entry, wish(v.entry, v.wish), v.want, `${v.wish} ${JSON.stringify(v.entry)}`);
});

test('answers', () => {
  for (const v of vectors.steps) {
    const answer = vectors.answers[v.answer];
    assert.ok(answer, v.answer);
    same(v.entry, step(v.entry, v.call, read(wire(answer), now)), v.want, `${JSON.stringify(v.entry)} ${v.call} ${v.answer}`);
  }
});

test('records', () => {
  for (const v of vectors.records) {
    const query = wire({ status: 200, headers: { 'Idempotency-State': v.record.state, 'Idempotency-Next': v.record.next } })!;
    query.body = new TextEncoder().encode(JSON.stringify({ records: [v.record], unseen: [] }));
    same(v.entry, step(v.entry, 'ask', readQuery(query, now)(v.record.key)), v.want, JSON.stringify(v));
  }
});

test('queries', () => {
  for (const v of vectors.queries) {
    const answer = { status: v.status, headers: fields(v.headers), body: new TextEncoder().encode(JSON.stringify(v.body)), whole: !v.cut };
    const reading = readQuery(answer, now);
    for (const [key, entry] of Object.entries(v.entries)) same(entry, step(entry, 'ask', reading(key)), v.want[key]!, `${v.name}: ${key}`);
  }
});
