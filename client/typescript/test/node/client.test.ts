import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, type ClientOptions } from '#src/client.js';
import { newKey } from '#src/key.js';
import { MemoryOutbox } from '#src/outbox.js';
import { dice, Network } from './network.js';

const quick = { backoff: { base: 1, max: 8 }, budget: { burst: 1e9, interval: 1 }, wait: 0, timeout: 1000 };
let clients = 0;

function client(network: Network, options: Partial<ClientOptions> = {}): Client {
  // A network that answers twice in the gateway's place looks like one without a gateway: here it is worth another try.
  const again = () => setTimeout(() => c.resume(), 1);
  const c: Client = new Client({ gateway: 'http://gateway.test', name: `client ${clients++}`, fetch: network.fetch, onError: () => {}, onHalt: again, ...quick, ...options });
  return c;
}

test('over any network, with a client that ends and begins anew: each intent once, each with its answer', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = dice(seed);
    const network = new Network(random, 300);
    const outbox = new MemoryOutbox();
    const keys = Array.from({ length: 15 }, () => newKey());
    for (let life = 0; life < 5; life++) {
      const c = client(network, { outbox });
      for (const key of keys) void c.submit('/orders', { key, body: `order ${key}` }).catch(() => {}); // again: the same intent
      await new Promise((resolve) => setTimeout(resolve, random() * 15));
      await c.close();
    }
    const c = client(network, { outbox });
    for (const key of keys) {
      const { outcome, response } = await c.settled(key);
      assert.equal(outcome, 'executed', `seed ${seed}`);
      assert.equal(await response!.text(), `did order ${key}`, `seed ${seed}`);
      assert.equal(network.effects.get(key), 1, `seed ${seed}`);
    }
    await c.close();
  }
});

test('cancelled at any time: executed or not, as the outcome says, for ever', async () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const random = dice(seed);
    const network = new Network(random, 200);
    const c = client(network);
    const keys = Array.from({ length: 10 }, () => newKey());
    const results = keys.map(async (key) => {
      const result = c.submit('/orders', { key, body: key });
      await new Promise((resolve) => setTimeout(resolve, random() * 10));
      await c.cancel(key);
      return result;
    });
    const all = await Promise.all(results);
    await c.close();
    await new Promise((resolve) => setTimeout(resolve, 40)); // late copies arrive
    for (const { key, outcome } of all) {
      outcomes.add(outcome);
      assert.equal(network.effects.get(key) ?? 0, outcome === 'executed' ? 1 : 0, `seed ${seed}: ${outcome}`);
    }
  }
  assert.deepEqual([...outcomes].sort(), ['cancelled', 'executed']);
});

test('nothing is sent before it is in the outbox, and a request that cannot be kept is not sent', async () => {
  const network = new Network(dice(1), 0);
  class Watched extends MemoryOutbox {
    full = false;
    override async add(...args: Parameters<MemoryOutbox['add']>) {
      if (this.full) throw new Error('no room');
      return super.add(...args);
    }
  }
  const outbox = new Watched();
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const key = (input as Request).headers.get('idempotency-key');
    if (key) assert.equal((await outbox.get(key))?.progress.state, 'doubt', 'it is written down that it may have been sent');
    return network.fetch(input, init);
  };
  const c = client(network, { outbox, fetch });
  assert.equal((await c.submit('/orders', { body: 'a' })).outcome, 'executed');
  outbox.full = true;
  await assert.rejects(c.submit('/orders', { body: 'b' }), /no room/);
  assert.equal(network.effects.size, 1);
  await c.close();
});

test('credentials: fresh for each attempt, never stored; refused twice halts it until somebody has signed in', async () => {
  const network = new Network(dice(1), 0);
  network.token = 'Bearer 2';
  const asked: boolean[] = [];
  const halted: string[] = [];
  let token = 1;
  const c = client(network, {
    authorize: ({ denied }) => {
      asked.push(denied);
      if (denied && token < 2) token++;
      return { authorization: `Bearer ${token}` };
    },
    onHalt: (key) => {
      halted.push(key);
      signIn();
    },
  });
  const signIn = () => {
    token = 7;
    network.token = 'Bearer 7';
    c.resume();
  };
  assert.equal((await c.submit('/orders', { body: 'a' })).outcome, 'executed');
  assert.deepEqual(asked, [false, true]);
  network.token = 'Bearer nobody has';
  const key = newKey();
  assert.equal((await c.submit('/orders', { key, body: 'b' })).outcome, 'executed');
  assert.deepEqual(halted, [key]);
  assert.doesNotMatch(JSON.stringify(await c.entries()), /Bearer/);
  await assert.rejects(c.submit('/orders', { headers: { Authorization: 'Bearer 7' } }), /must not be stored/);
  await c.close();
});

test('what is in doubt is asked for in one call, when a client starts', async () => {
  const network = new Network(dice(1), 0);
  const keys = Array.from({ length: 120 }, () => newKey());
  class Slow extends MemoryOutbox {
    override async get(key: string) {
      if (key === keys[60]) await new Promise((resolve) => setTimeout(resolve, 50));
      return super.get(key);
    }
  }
  const outbox = new Slow();
  for (const key of keys) {
    await outbox.add({ key, created: Date.now(), request: { method: 'POST', url: 'http://gateway.test/orders', headers: [], body: null }, progress: { state: 'doubt', sends: 1 } });
  }
  const calls: string[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    calls.push(new URL((input as Request).url).pathname);
    return network.fetch(input, init);
  };
  const c = client(network, { outbox, fetch });
  for (const key of keys) assert.equal((await c.settled(key)).outcome, 'executed');
  assert.deepEqual(calls.slice(0, 2), ['/_reconcile/v1/query', '/_reconcile/v1/query'], 'a hundred, and the rest');
  assert.equal(calls.filter((path) => path.startsWith('/_reconcile')).length, 2);
  await c.close();
});

test('acknowledged: erased there, then gone here', async () => {
  const network = new Network(dice(1), 0);
  const c = client(network);
  const { key } = await c.submit('/orders', { body: 'a' });
  await c.acknowledge(key);
  for (let i = 0; (await c.entries()).length > 0; i++) {
    assert.ok(i < 1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await assert.rejects(c.settled(key), /no such intent/);
  await c.close();
});

test('one key, one request', async () => {
  const c = client(new Network(dice(1), 0));
  const key = 'order-1';
  await c.submit('/orders', { key, body: 'a' });
  await assert.rejects(c.submit('/orders', { key, body: 'b' }), /another request/);
  await assert.rejects(c.submit('/orders', { key: 'two words', body: 'b' }), /a key is/);
  await assert.rejects(c.submit('http://elsewhere.test/orders', { body: 'b' }), /not the gateway/);
  await assert.rejects(c.submit('/orders', { method: 'GET' }), /use fetch/);
  await c.close();
  await assert.rejects(c.settled('order-2'), /closed/);
});

test('past the gateway, or on a route that it does not protect, it does not go on sending', async () => {
  const network = new Network(dice(1), 0);
  let sends = 0;
  let halt = (_: string) => {};
  const halted = new Promise<string>((resolve) => (halt = resolve));
  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (new URL((input as Request).url).pathname !== '/orders') return network.fetch(input, init);
    sends++;
    return new Response('done', { status: 200 });
  };
  const c = client(network, { fetch, onHalt: (key, { state }) => halt(`${key} ${state}`) });
  void c.submit('/orders', { key: 'past', body: 'a' }).catch(() => {});
  assert.equal(await halted, 'past unseen');
  assert.equal(sends, 2);
  await c.close();
});
