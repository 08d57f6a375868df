import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { newKey } from '#src/key.js';
import { defaultLock } from '#src/lock.js';
import { EventParser, type ServerEvent } from '#src/sse.js';
import { jittered, pause, RetryBudget, Slots } from '#src/time.js';

test('keys are UUIDv7, in order, and no two are the same', () => {
  const now = Date.now() + 1000;
  const keys = Array.from({ length: 10_000 }, (_, i) => newKey(now - (i % 3))); // a clock that goes back
  assert.equal(new Set(keys).size, keys.length);
  assert.deepEqual(keys, [...keys].sort());
  for (const key of keys) assert.match(key, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(parseInt(keys[0]!.replace('-', '').slice(0, 12), 16), now);
});

test('events, wherever the stream is cut and however its lines end', () => {
  const lines = ['id: 1', 'event: request', 'data: {"a":1}', '', ': heartbeat', 'data:no space', 'data: second line', 'unknown: x', '', 'event: empty', '', 'id', 'data', '', 'id: 2', 'data: last', '', 'data: cut short'];
  const want: ServerEvent[] = [
    { event: 'request', data: '{"a":1}', id: '1' },
    { event: 'message', data: 'no space\nsecond line', id: '1' },
    { event: 'message', data: '', id: '' },
    { event: 'message', data: 'last', id: '2' },
  ];
  for (const end of ['\n', '\r\n', '\r']) {
    const text = '\uFEFF' + lines.join(end);
    for (let cut = 0; cut <= text.length; cut++) {
      const parser = new EventParser();
      assert.deepEqual([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))], want, `${JSON.stringify(end)} cut at ${cut}`);
    }
    const parser = new EventParser();
    assert.deepEqual([...text].flatMap((c) => parser.push(c)), want);
  }
});

test('one at a time has the lock, in turn; who gives up does not let others pass', async () => {
  const [open, quit] = [new AbortController().signal, new AbortController()];
  const log: string[] = [];
  let release = () => {};
  const first = defaultLock('l', open, async () => {
    log.push('first');
    await new Promise<void>((resolve) => (release = resolve));
    log.push('first ends');
  });
  const second = defaultLock('l', quit.signal, async () => void log.push('second'));
  const third = defaultLock('l', open, async () => void log.push('third'));
  const other = defaultLock('other', open, async () => void log.push('other'));
  await other;
  quit.abort();
  await second;
  assert.deepEqual(log, ['first', 'other']);
  release();
  await Promise.all([first, third]);
  assert.deepEqual(log, ['first', 'other', 'first ends', 'third']);
  await assert.rejects(defaultLock('l', open, () => Promise.reject(new Error('of the work'))), /of the work/);
  await defaultLock('l', open, async () => void log.push('fourth'));
  assert.equal(log.at(-1), 'fourth');
});

test('back-off is anything up to a bound that doubles; a pause takes any number', async () => {
  const backoff = { base: 100, max: 1000 };
  assert.deepEqual([0, 1, 2, 3, 4, 1000].map((n) => jittered(n, backoff, () => 1)), [100, 200, 400, 800, 1000, 1000]);
  assert.equal(jittered(3, backoff, () => 0), 0);
  await pause(-Date.now(), new AbortController().signal); // a browser takes 32 bits of it
  const stop = new AbortController();
  const long = pause(Number.MAX_SAFE_INTEGER, stop.signal);
  stop.abort();
  await long;
});

test('a budget gives a burst, then one in an interval, and saves no more than the burst', () => {
  const budget = new RetryBudget(2, 100, 0);
  assert.deepEqual([budget.take(0), budget.take(0), budget.take(0), budget.take(0)], [0, 0, 100, 200]);
  assert.equal(budget.take(1_000_000), 0);
  assert.equal(budget.take(1_000_000), 0);
  assert.equal(budget.take(1_000_000), 100);
});

test('so many slots, first come first served, also after an error', async () => {
  const slots = new Slots(2);
  let inside = 0;
  let most = 0;
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      slots
        .with(async () => {
          order.push(i);
          most = Math.max(most, ++inside);
          await new Promise((resolve) => setImmediate(resolve));
          inside--;
          if (i % 2) throw new Error('odd');
        })
        .catch(() => {}),
    ),
  );
  assert.equal(most, 2);
  assert.deepEqual(order, [...order].sort((a, b) => a - b));
});

test('the lock file names no registry, and the package needs no other one', () => {
  const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
  assert.doesNotMatch(read('package-lock.json'), /"resolved"|https?:/);
  assert.equal(JSON.parse(read('package.json')).dependencies, undefined);
});
