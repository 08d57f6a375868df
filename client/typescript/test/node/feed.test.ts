import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { type Change, changes, type FeedOptions, FeedRefused } from '#src/feed.js';

type Turn = (response: ServerResponse, request: IncomingMessage) => void;

/** Serves one connection after the other, each as its turn says, and notes where each of them began. */
async function feed(t: TestContext, turns: Turn[], options: Partial<FeedOptions> = {}) {
  const begun: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    begun.push(request.headers['last-event-id'] as string | undefined);
    assert.equal(request.headers.accept, 'text/event-stream');
    (turns[begun.length - 1] ?? (() => response.destroy()))(response, request);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const stop = new AbortController();
  const gateway = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const source = changes({ gateway, signal: stop.signal, backoff: { base: 1, max: 5 }, ...options });
  return { source, begun, stop };
}

const streamed = { 'content-type': 'text/event-stream', 'idempotency-state': 'completed', 'idempotency-next': 'done' };

const stream = (...events: string[]): Turn => (response) => {
  response.writeHead(200, streamed);
  for (const e of events) response.write(e);
};
const ending = (turn: Turn): Turn => (response, request) => {
  turn(response, request);
  response.end();
};
const request = (id: string, key: string) => `id: ${id}\nevent: request\ndata: {"key":"${key}"}\n\n`;
const sync = (id: string) => `id: ${id}\nevent: sync\ndata: {"caught_up":true}\n\n`;

async function take(source: AsyncGenerator<Change>, n: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < n) {
    const { value } = await source.next();
    if (!value) break;
    got.push(value.type === 'request' ? `${value.record.key}@${value.cursor}` : value.type === 'sync' ? `sync@${value.cursor}` : value.type);
  }
  return got;
}

test('each connection goes on where the one before ended, whatever ended it', async (t) => {
  let cut = () => {};
  const { source, begun, stop } = await feed(t, [
    ending(stream(request('1', 'a'), request('2', 'b'), 'id: 3\nevent: request\ndata: {"key":"cut sho')),
    (response) => {
      stream(request('3', 'c'))(response, null!);
      cut = () => response.destroy();
    },
    ending(stream(request('4', 'd'), 'event: bye\ndata: {"reason":"shutdown"}\n\n', request('never', 'x'))),
    (response) => response.writeHead(502).end('<html>'),
    (response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(request('portal', 'x')), // without our state
    (response) => response.writeHead(503, { ...streamed, 'content-type': 'application/problem+json', 'idempotency-next': 'resend' }).end('{}'),
    stream('event: later\nid: 5\ndata: {}\n\n', sync('6'), request('7', 'e')),
  ]);
  assert.deepEqual(await take(source, 3), ['a@1', 'b@2', 'c@3']);
  cut();
  assert.deepEqual(await take(source, 3), ['d@4', 'sync@6', 'e@7']);
  assert.deepEqual(begun, [undefined, '2', '3', '4', '4', '4', '4']);
  stop.abort();
  assert.equal((await source.next()).done, true);
});

test('a cursor that has expired: all from the start, and the reader is told', async (t) => {
  const { source, begun, stop } = await feed(
    t,
    [
      (response) => response.writeHead(410, { ...streamed, 'content-type': 'application/problem+json', 'idempotency-next': 'stop' }).end('{"code":"cursor-expired"}'),
      ending(stream(request('8', 'a'), 'id: new\nevent: reset\ndata: null\n\n', request('9', 'a'))),
      ending(stream('id: newer\nevent: reset\ndata: null\n\n')),
      stream(sync('10')),
    ],
    { since: 'old' },
  );
  assert.deepEqual(await take(source, 6), ['reset', 'a@8', 'reset', 'a@9', 'reset', 'sync@10']);
  assert.deepEqual(begun, ['old', undefined, '9', 'newer']);
  stop.abort();
});

test('the server says how soon it wants to be asked again', async (t) => {
  const delays: number[] = [];
  const { source, stop } = await feed(t, [ending(stream('retry: 30\n\n', sync('1'))), ending(stream(sync('2'))), stream(sync('3'))], {
    random: () => {
      delays.push(performance.now());
      return 0;
    },
  });
  assert.deepEqual(await take(source, 3), ['sync@1', 'sync@2', 'sync@3']);
  assert.ok(delays[1]! - delays[0]! >= 29, 'not before the time that it named');
  stop.abort();
});

test('states are named one by one', async (t) => {
  const asked: (string | undefined)[] = [];
  for (const state of ['', 'unknown', ['unknown', 'executing']]) {
    const told: Turn = (response, request) => {
      asked.push(request.url);
      stream(sync('1'))(response, request);
    };
    const { source, stop } = await feed(t, [told], { state });
    assert.deepEqual(await take(source, 1), ['sync@1']);
    stop.abort();
  }
  const path = '/_reconcile/v1/requests';
  assert.deepEqual(asked, [path, `${path}?state=unknown`, `${path}?state=unknown&state=executing`]);
});

test('silence ends a connection', async (t) => {
  // On a busy machine even what is said at once comes only after a while, and its connection was given up for dead.
  for (let silence = 100; ; silence *= 4) {
    const { source, begun, stop } = await feed(t, [stream(request('1', 'a')), stream(sync('2')), () => stop.abort()], { silence });
    const told = await take(source, 2);
    stop.abort();
    if (begun.length !== 2 && silence < 10_000) continue;
    assert.deepEqual(told, ['a@1', 'sync@2']);
    assert.deepEqual(begun, [undefined, '1']);
    return;
  }
});

test('a change counts when the reader has taken it', async (t) => {
  const { source, begun } = await feed(t, [stream(request('1', 'a'), request('2', 'b'))]);
  for await (const change of source) {
    assert.equal(change.type, 'request');
    break; // ends the connection, too
  }
  assert.deepEqual(begun, [undefined]);
});

test('denied credentials are replaced once', async (t) => {
  const asked: boolean[] = [];
  const denied: Turn = (response) => response.writeHead(401, { 'idempotency-state': 'rejected', 'idempotency-next': 'stop' }).end();
  const authorize = (request: { denied: boolean }) => {
    asked.push(request.denied);
    return {};
  };
  const { source } = await feed(t, [denied, ending(stream(sync('1'))), denied, denied, stream(sync('2'))], { authorize });
  assert.deepEqual(await take(source, 1), ['sync@1']);
  await assert.rejects(source.next(), (error) => error instanceof FeedRefused && error.status === 401);
  assert.deepEqual(asked, [false, true, false, true]);
});

test('a refusal that stays is an error; another token is tried', async (t) => {
  let tokens = 0;
  const refuse = (status: number): Turn => (response) => response.writeHead(status, { 'idempotency-state': 'rejected', 'idempotency-next': 'stop' }).end();
  const { source } = await feed(t, [refuse(401), ending(stream(sync('1'))), refuse(403)], { authorize: () => ({ authorization: `Bearer ${++tokens}` }) });
  assert.deepEqual(await take(source, 1), ['sync@1']);
  assert.equal(tokens, 2);
  await assert.rejects(source.next(), (error) => error instanceof FeedRefused && error.status === 403);
});
