import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { newKey } from '#src/key.js';
import { limit, noRig, rig as started, script, until } from '../rig.js';
import { Browser, chromium, type Tab } from './browser.js';

interface Plain { key: string; outcome: string; status?: number; text?: string }

const rig = started!;
const quoted = JSON.stringify;

describe('in a browser', { skip: noRig }, () => {
  let browser: Browser;

  before(async () => {
    const path = chromium();
    assert.ok(path, 'there is no chromium');
    browser = await Browser.launch(path);
  });
  after(() => browser?.close());

  /** A user who has nothing stored yet. */
  async function user(options = ''): Promise<() => Promise<Tab>> {
    const openAt = await browser.user();
    return () => openAt(`${rig.pages}/test/chromium/page.html?gateway=${encodeURIComponent(rig.gateway)}${options}`);
  }

  const submit = (tab: Tab, key: string, headers: Record<string, string> = {}) => tab.run<Plain>(`page.submit(${quoted(key)}, ${quoted(headers)})`);
  const begin = (tab: Tab, key: string, headers: Record<string, string> = {}) => tab.run(`page.begin(${quoted(key)}, ${quoted(headers)})`);
  const settled = (tab: Tab, key: string) => tab.run<Plain>(`page.settled(${quoted(key)})`);
  const states = (tab: Tab) => tab.run<Record<string, string>>('page.states()');

  test('one request', limit, async () => {
    const tab = await (await user())();
    const key = newKey();
    const result = await submit(tab, key, script({ Status: 201, Body: 'tea' }));
    assert.deepEqual(result, { key, outcome: 'executed', status: 201, text: 'tea' });
    assert.equal(rig.effects(key), 1);
    const [fields] = rig.received(key);
    assert.match(fields!['Authorization']![0]!, /^Bearer secret-/);
    assert.doesNotMatch(await tab.run('page.stored()'), /secret/, 'credentials are not stored');
    await tab.run(`page.acknowledge(${quoted(key)})`);
    await until('the intent leaves the outbox', async () => !(key in (await states(tab))));
  });

  test('reloaded in mid-request, it asks for all at once and gets each answer', limit, async () => {
    const tab = await (await user())();
    const keys = [newKey(), newKey(), newKey()];
    const gate = newKey();
    for (const key of keys) await begin(tab, key, script({ Before: gate, Body: `for ${key}` }));
    await rig.arrived(gate, keys.length);
    tab.requests.length = 0;
    await tab.reload();
    await until('the page asks', () => tab.requests.some((r) => r.path.startsWith('/_reconcile')));
    await rig.open(gate);
    for (const key of keys) assert.deepEqual(await settled(tab, key), { key, outcome: 'executed', status: 200, text: `for ${key}` });
    const [first] = tab.requests.filter((r) => r.path.startsWith('/_reconcile') || r.path === '/orders').filter((r) => r.method !== 'OPTIONS');
    assert.deepEqual({ ...first, body: '' }, { method: 'POST', path: '/_reconcile/v1/query', body: '' });
    assert.deepEqual(JSON.parse(first!.body).keys.sort(), [...keys].sort(), 'the first call asks for all of them');
    for (const key of keys) assert.equal(rig.effects(key), 1);
  });

  test('offline and online again', limit, async () => {
    const tab = await (await user())();
    const [sent, gate, ...unsent] = [newKey(), newKey(), newKey(), newKey()];
    await begin(tab, sent!, script({ Before: gate! }));
    await rig.arrived(gate!, 1);
    await tab.offline(true);
    for (const key of unsent) await begin(tab, key);
    await until('all are kept', async () => Object.keys(await states(tab)).length === 3);
    await rig.open(gate!);
    await tab.offline(false);
    for (const key of [sent!, ...unsent]) {
      assert.equal((await settled(tab, key)).outcome, 'executed');
      assert.equal(rig.effects(key), 1);
    }
  });

  test('written down while offline, and sent after a reload', limit, async () => {
    const tab = await (await user())();
    const key = newKey();
    await tab.offline(true);
    await begin(tab, key);
    await until('it is kept', async () => (await states(tab))[key] === 'queued');
    await tab.run("void (location.hash = 'away')"); // offline, a reload would not come back
    await tab.offline(false);
    await tab.reload();
    assert.equal((await settled(tab, key)).outcome, 'executed');
    assert.equal(rig.effects(key), 1);
  });

  test('becoming visible', limit, async () => {
    const tab = await (await user('&slow'))();
    await submit(tab, newKey()); // the client has started
    const key = newKey();
    await begin(tab, key, script({ Then: 'reset' })); // in doubt for ever: it is asked for again and again, here in days
    await until('it was executed', () => rig.effects(key) === 1);
    await until('it is in doubt', async () => (await states(tab))[key] === 'doubt');
    const asked = () => tab.requests.filter((r) => r.path.startsWith('/_reconcile')).length;
    const before = asked();
    await until('the page asks', async () => {
      await tab.run("void document.dispatchEvent(new Event('visibilitychange'))");
      return asked() > before;
    });
    assert.equal(rig.received(key).length, 1);
  });

  test('two tabs: one works, both learn the result, and the second takes over', limit, async () => {
    const tab = await user();
    const [first, second] = [await tab(), await tab()];
    assert.equal(await first.run('page.leads()'), 1);
    const key = newKey();
    const [a, b] = await Promise.all([submit(first, key), submit(second, key)]);
    assert.deepEqual(a, b);
    assert.equal(rig.effects(key), 1);
    assert.ok(!second.requests.some((r) => r.path === '/orders'), 'the second tab leaves the work to the first');

    const [later, gate] = [newKey(), newKey()];
    await begin(second, later, script({ Before: gate, Body: 'late' }));
    await rig.arrived(gate, 1);
    await first.close();
    await rig.open(gate);
    assert.deepEqual(await settled(second, later), { key: later, outcome: 'executed', status: 200, text: 'late' });
    assert.equal(rig.effects(later), 1);
  });

  test('cancelled before it was sent, and too late', limit, async () => {
    const tab = await (await user())();
    const [early, late, gate] = [newKey(), newKey(), newKey()];
    await tab.offline(true);
    await begin(tab, early);
    await until('it is kept', async () => (await states(tab))[early] === 'queued');
    assert.equal((await tab.run<Plain>(`page.cancel(${quoted(early)})`)).outcome, 'cancelled');
    await tab.offline(false);
    await begin(tab, late, script({ After: gate }));
    await rig.arrived(gate, 1);
    const result = tab.run<Plain>(`page.cancel(${quoted(late)})`);
    await until('the gateway is told', () => tab.requests.some((r) => r.path.endsWith('/cancellation') && r.method === 'PUT'));
    await rig.open(gate);
    assert.equal((await result).outcome, 'executed');
    assert.deepEqual([rig.effects(early), rig.effects(late)], [0, 1]);
  });

  test('a page that was away reads in the feed what has changed since', limit, async () => {
    const tab = await (await user())();
    const keys = [newKey(), newKey()];
    const follow = (key: string, since: string) => tab.run<{ keys: string[]; cursor: string }>(`page.follow(${quoted(key)}, ${quoted(since)})`);
    await begin(tab, keys[0]!);
    const { cursor } = await follow(keys[0]!, '');
    await tab.reload();
    await submit(tab, keys[1]!);
    const rest = await follow(keys[1]!, cursor);
    assert.ok(!rest.keys.includes(keys[0]!), 'nothing from before the cursor');
  });

  test("a redirect is the backend's answer, though browsers hide it", limit, async () => {
    const tab = await (await user())();
    const key = newKey();
    const result = await submit(tab, key, script({ Status: 303, Header: { Location: ['/orders/1'] }, Body: 'see there' }));
    assert.deepEqual(result, { key, outcome: 'executed', status: 303, text: 'see there' });
    assert.equal(rig.effects(key), 1);
  });
});
