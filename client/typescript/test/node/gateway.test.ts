import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Client, type ClientOptions } from '#src/client.js';
import { changes } from '#src/feed.js';
import { newKey } from '#src/key.js';
import { MemoryOutbox } from '#src/outbox.js';
import { limit, noRig, rig as started, script, until } from '../rig.js';

const rig = started!;

function client(options: Partial<ClientOptions> = {}): Client {
  return new Client({ gateway: rig.gateway, name: newKey(), backoff: { base: 10, max: 200 }, onError: () => {}, ...options });
}

describe('with a gateway', { skip: noRig }, () => {
  test('ended in mid-request and begun anew: each intent once, each with its answer', limit, async () => {
    const outbox = new MemoryOutbox();
    const [keys, gate] = [Array.from({ length: 8 }, () => newKey()), newKey()];
    const first = client({ outbox, parallel: 8 });
    for (const [i, key] of keys.entries()) {
      void first.submit('/orders', { key, body: key, headers: script({ ...(i % 2 ? { Before: gate } : { After: gate }), Status: 201, Body: `for ${key}` }) }).catch(() => {});
    }
    await rig.arrived(gate, keys.length);
    await first.close();
    await rig.open(gate);
    const second = client({ outbox });
    for (const key of keys) {
      const { outcome, response } = await second.settled(key);
      assert.deepEqual([outcome, response!.status, await response!.text(), rig.effects(key)], ['executed', 201, `for ${key}`, 1]);
    }
    await second.close();
  });

  test('out of a tunnel, with connections that are cut at any byte, and begun anew: fifty intents, fifty executions', limit, async () => {
    const outbox = new MemoryOutbox();
    const keys = Array.from({ length: 50 }, () => newKey());
    const options = { gateway: rig.tunnel, outbox, backoff: { base: 2, max: 100 }, budget: { burst: 1000, interval: 10 } };
    const first = client(options);
    const some = keys.map((key) => first.submit('/orders', { key, body: key, headers: script({ Body: `for ${key}` }) }));
    await Promise.any(some);
    await first.close();
    await Promise.allSettled(some);
    const second = client(options);
    for (const key of keys) {
      const { outcome, response } = await second.settled(key);
      assert.deepEqual([outcome, await response!.text(), rig.effects(key)], ['executed', `for ${key}`, 1]);
    }
    await second.close();
  });

  test('a late original of what was cancelled is not executed', limit, async () => {
    const outbox = new MemoryOutbox();
    const key = newKey();
    const headers: [string, string][] = [['content-type', 'text/plain']];
    // As a tab leaves it that was closed just before its first byte.
    await outbox.add({ key, created: Date.now(), request: { method: 'POST', url: `${rig.gateway}/orders`, headers, body: null }, progress: { state: 'doubt', sends: 1 } });
    const c = client({ outbox, fetch: async (...args) => { await cancelled; return fetch(...args); } });
    let release = () => {};
    const cancelled = new Promise<void>((resolve) => (release = resolve));
    const result = c.cancel(key);
    await until('the wish is kept', async () => (await outbox.get(key))?.progress.state === 'cancelling');
    release();
    assert.deepEqual(await result, { key, outcome: 'cancelled' });
    const late = await fetch(`${rig.gateway}/orders`, { method: 'POST', headers: [...headers, ['idempotency-key', key]] });
    assert.deepEqual([late.status, late.headers.get('idempotency-state'), rig.effects(key)], [409, 'cancelled', 0]);
    await c.close();
  });

  test('what nobody knows stays in doubt: it is not sent again', limit, async () => {
    const outbox = new MemoryOutbox();
    const c = client({ outbox });
    const key = newKey();
    void c.submit('/orders', { key, headers: script({ Then: 'reset' }) }).catch(() => {});
    await until('it was executed', () => rig.effects(key) === 1);
    await until('it is in doubt', async () => (await outbox.get(key))?.progress.state === 'doubt');
    c.resume(); // asks
    await c.close();
    assert.equal((await outbox.get(key))!.progress.state, 'doubt');
    assert.equal(rig.received(key).length, 1);
  });

  test('the feed tells what became of them, and a reader who was away misses nothing', limit, async () => {
    const c = client();
    const keys = [newKey(), newKey(), newKey()];
    for (const key of keys.slice(0, 2)) await c.submit('/orders', { key });
    let cursor = '';
    /** Reads until it has heard that all of them were completed. */
    const hear = async (wanted: string[], since: string) => {
      const heard = new Map<string, string>();
      for await (const change of changes({ gateway: rig.gateway, since, backoff: { base: 1, max: 50 } })) {
        if (change.type === 'reset') continue;
        cursor = change.cursor;
        if (change.type === 'request') heard.set(change.record.key, change.record.state);
        if (wanted.every((key) => heard.get(key) === 'completed')) return heard;
      }
      return heard;
    };
    await hear(keys.slice(0, 2), '');
    const before = cursor;
    await c.submit('/orders', { key: keys[2]! });
    await hear(keys.slice(2), before);
    const rest = await hear(keys.slice(2), before); // again from there
    assert.deepEqual(keys.filter((key) => rest.has(key)), keys.slice(2), 'nothing from before the cursor');
    assert.ok((await hear(keys, '')).size >= 3, 'all of it from the start');
    await c.close();
  });

  test('acknowledged: the gateway forgets the answer', limit, async () => {
    const c = client();
    const { key } = await c.submit('/orders', { body: 'a', headers: script({ Body: 'private' }) });
    await c.acknowledge(key);
    await until('it leaves the outbox', async () => (await c.entries()).length === 0);
    const record = (await (await fetch(`${rig.gateway}/_reconcile/v1/requests/${key}?include=body`)).json()) as { state: string };
    assert.equal(record.state, 'forgotten');
    await c.close();
  });

  test('a redirect is an answer: it is not followed', limit, async () => {
    const c = client();
    const { key, outcome, response } = await c.submit('/orders', { headers: script({ Status: 307, Header: { Location: ['/elsewhere'] } }) });
    assert.deepEqual([outcome, response!.status, response!.headers.get('location')], ['executed', 307, '/elsewhere']);
    assert.equal(rig.effects(key), 1);
    await c.close();
  });

  test('the same key for another request is refused', limit, async () => {
    const key = newKey();
    const [a, b] = [client(), client()];
    assert.equal((await a.submit('/orders', { key, body: 'a' })).outcome, 'executed');
    const { outcome, response } = await b.submit('/orders', { key, body: 'b' });
    assert.deepEqual([outcome, response!.status, ((await response!.json()) as { code: string }).code], ['refused', 422, 'key-reused']);
    assert.equal(rig.effects(key), 1);
    await a.close();
    await b.close();
  });
});
