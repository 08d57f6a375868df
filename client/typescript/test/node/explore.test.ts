// Every state that one intent, the gateway's record of it and a network can reach together, within bounds. The network loses
// requests and answers, cuts answers, holds requests back and delivers them at any later time, also twice; something
// in between answers in the gateway's place; the backend fails in each way; the user wishes a cancellation at any time;
// the page is closed at any time (then a call has no answer, and begin decides anew).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { begin, type CallKind, type Move, type Outcome, type Progress, type Reading, step, wish } from '#src/step.js';

type RecordState = 'unseen' | 'executing' | 'completed' | 'not_executed' | 'unknown' | 'cancelled' | 'forgotten';

interface Machine {
  begin: typeof begin;
  step: typeof step;
  wish: typeof wish;
}

interface World {
  p: Progress;
  record: RecordState;
  effects: number;
  late: number; // copies of the request on their way
  lateCancel: boolean; // a cancellation on its way
  attempts: number; // of the gateway
  wished: boolean;
  old: boolean; // the key is too old: without a record it is refused
}

const bounds = { sends: 4, attempts: 3, late: 3 };
const start: World = { p: { state: 'queued', sends: 0 }, record: 'unseen', effects: 0, late: 0, lateCancel: false, attempts: 0, wished: false, old: false };

const silence: Reading = { status: 0, whole: false, floor: 0 };
const between: Reading[] = [200, 302, 401, 404, 502].map((status) => ({ status, whole: true, floor: 0 }));
const says = (status: number, state: string, next: string, code?: string): Reading => ({ status, state, next, whole: true, floor: 0, ...(code && { code }) });
const refusals = [says(503, 'rejected', 'resend', 'overloaded'), says(401, 'rejected', 'stop', 'unauthenticated'), says(403, 'rejected', 'stop', 'forbidden'), says(412, 'rejected', 'stop', 'deadline-passed')];

/** What the gateway says of a settled or running record to a request, or undefined: it would start an attempt. */
function recorded(w: World): Reading | undefined {
  switch (w.record) {
    case 'completed': return says(201, 'replayed', 'done');
    case 'forgotten': return says(410, 'forgotten', 'done', 'response-forgotten');
    case 'cancelled': return says(409, 'cancelled', 'stop', 'cancelled');
    case 'unknown': return says(409, 'unknown', 'reconcile', 'outcome-unknown');
    case 'executing': return says(409, 'executing', 'wait', 'in-progress');
    case 'unseen': return w.old ? says(412, 'rejected', 'stop', 'key-too-old') : undefined;
    case 'not_executed': return undefined;
  }
}

type Handled = [World, Reading];

/** All that can come of a request that arrives. */
function arrives(w: World): Handled[] {
  const known = recorded(w);
  if (known) return [[w, known]];
  const refused = refusals.map((r): Handled => [w, r]);
  if (w.attempts === bounds.attempts) return refused;
  const claimed: World = { ...w, record: 'executing', attempts: w.attempts + 1 };
  return [
    ...refused,
    [{ ...claimed, record: 'completed', effects: w.effects + 1 }, says(201, 'executed', 'done')],
    [{ ...claimed, record: 'not_executed' }, says(503, 'not_executed', 'resend', 'backend-unreachable')],
    [{ ...claimed, record: 'unknown', effects: w.effects + 1 }, says(502, 'unknown', 'reconcile', 'outcome-unknown')],
    [{ ...claimed, record: 'unknown' }, says(504, 'unknown', 'reconcile', 'outcome-unknown')],
    [claimed, silence], // its answer will come when the client has gone
  ];
}

const nexts: Record<RecordState, string> = { unseen: 'resend', executing: 'wait', completed: 'done', not_executed: 'resend', unknown: 'reconcile', cancelled: 'stop', forgotten: 'done' };

function cancels(w: World): Handled[] {
  if (w.record === 'unseen' && w.old) return [[w, says(412, 'rejected', 'stop', 'key-too-old')]];
  if (w.record === 'unseen' || w.record === 'not_executed' || w.record === 'cancelled') return [[{ ...w, record: 'cancelled' }, says(200, 'cancelled', 'stop')]];
  return [[w, says(409, w.record, nexts[w.record], 'too-late')]];
}

const gateway: Record<CallKind, (w: World) => Handled[]> = {
  send: arrives,
  ask: (w) => [[w, says(w.record === 'unseen' ? 404 : 200, w.record, nexts[w.record])], [w, says(503, 'rejected', 'resend', 'store-unavailable')]],
  cancel: (w) => [...cancels(w), [w, says(401, 'rejected', 'stop', 'unauthenticated')]],
  acknowledge: (w) => [[w.record === 'completed' ? { ...w, record: 'forgotten' } : w, says(204, 'forgotten', 'done')]],
};

/** All that one call of the client can lead to. */
function calls({ begin, step }: Machine, w: World): World[] {
  const first = begin(w.p);
  if (first.do === 'finish' || first.do === 'halt') return [];
  const call = first.do;
  if (call === 'send' && w.p.sends === bounds.sends) return [];
  const begun: World = { ...w, p: first.progress };
  const delayed = call === 'send' ? { ...begun, late: Math.min(bounds.late, begun.late + 1) } : call === 'cancel' ? { ...begun, lateCancel: true } : begun;
  const outcomes: Handled[] = [[begun, silence], [delayed, silence], ...between.map((r): Handled => [begun, r]), ...between.map((r): Handled => [delayed, r])];
  for (const [after, answer] of gateway[call](begun)) {
    outcomes.push([after, answer], [after, silence]);
    if (answer.state) outcomes.push([after, { ...answer, whole: false }]);
    // Browsers and proxies repeat a request by themselves.
    if (call === 'send') outcomes.push([{ ...after, late: Math.min(bounds.late, after.late + 1) }, answer]);
  }
  return outcomes.map(([next, answer]) => ({ ...next, p: step(next.p, call, answer).progress }));
}

/** What happens without the client. */
function happens(w: World): World[] {
  const all: World[] = [];
  if (w.late > 0) all.push(...arrives({ ...w, late: w.late - 1 }).map(([next]) => next));
  if (w.lateCancel) all.push(...cancels({ ...w, lateCancel: false }).map(([next]) => next));
  if (w.record === 'executing') {
    all.push({ ...w, record: 'completed', effects: w.effects + 1 }, { ...w, record: 'not_executed' }, { ...w, record: 'unknown' }, { ...w, record: 'unknown', effects: w.effects + 1 });
  }
  if (w.record === 'unknown') all.push(...(w.effects === 0 ? [{ ...w, record: 'not_executed' as const }] : [{ ...w, record: 'completed' as const }, { ...w, record: 'forgotten' as const }]));
  if (w.record === 'completed') all.push({ ...w, record: 'forgotten' });
  if (!w.old) all.push({ ...w, old: true });
  else if (!['executing', 'unknown', 'unseen'].includes(w.record)) all.push({ ...w, record: 'unseen' }); // purged
  return all;
}


/** Looks at every world that can be reached, and returns how many there are. It throws at the first that must not be. */
function explore(machine: Machine): number {
  const name = (w: World) => JSON.stringify(w);
  const seen = new Map([[name(start), start]]);
  const firstFrom = new Map<string, string>();
  const leadsTo = new Map<string, string[]>(); // backwards
  const queue = [start]; // breadth first, so that a failure has a short history
  for (const w of queue) {
    try {
      holds(w);
    } catch (error) {
      const path = [name(w)];
      while (path[0] !== name(start)) path.unshift(firstFrom.get(path[0]!)!);
      throw new Error(`after\n${path.join('\n')}`, { cause: error });
    }
    const byItself = [...calls(machine, w), ...happens(w)];
    const wished = w.wished ? [] : [{ ...w, wished: true, p: machine.wish(w.p, 'cancel').progress }];
    for (const next of [...byItself, ...wished]) {
      if (seen.has(name(next))) continue;
      seen.set(name(next), next);
      firstFrom.set(name(next), name(w));
      queue.push(next);
    }
    for (const next of byItself) leadsTo.set(name(next), [...(leadsTo.get(name(next)) ?? []), name(w)]);
  }
  // From everywhere within the bounds there is a way to the end, without help of the user.
  const ends = [...seen].filter(([, w]) => w.p.state === 'settled').map(([id]) => id);
  const reaching = new Set(ends);
  for (let id; (id = ends.pop()) !== undefined; ) {
    for (const from of leadsTo.get(id) ?? []) {
      if (reaching.has(from)) continue;
      reaching.add(from);
      ends.push(from);
    }
  }
  const stuck = [...seen].filter(([id, w]) => !reaching.has(id) && w.p.sends < bounds.sends);
  assert.deepEqual(stuck.slice(0, 3).map(([id]) => id), [], `${stuck.length} states without a way on`);
  return seen.size;
}

function holds(w: World): void {
  const { state, outcome } = w.p;
  const about = JSON.stringify(w);
  assert.ok(w.effects <= 1, about);
  if (outcome === 'executed') assert.equal(w.effects, 1, `executed, it says: ${about}`);
  if (outcome === 'cancelled' || outcome === 'refused') assert.equal(w.effects, 0, `never executed, it says: ${about}`);
  if (state === 'executed') assert.equal(w.effects, 1, `executed, it says: ${about}`);
}

const right: Machine = { begin, step, wish };

test('whatever happens, a settled intent is what its outcome says, and none is lost', () => {
  const worlds = explore(right);
  assert.ok(worlds > 5_000, `only ${worlds} worlds`);
});

/** Machines with one mistake each. */
const over = (outcome: Outcome): Move => ({ progress: { state: 'settled', sends: 0, outcome }, do: 'finish', floor: 0 });
const instead = (when: (p: Progress, call: CallKind, a: Reading) => boolean, move: (p: Progress) => Move): Machine => ({
  ...right,
  step: (p, call, a) => (p.state !== 'settled' && when(p, call, a) ? move(p) : step(p, call, a)),
});
const wrong: Record<string, Machine> = {
  'a captive portal is believed': instead((_, call, a) => call === 'send' && !a.state && a.status === 200, () => over('executed')),
  "a proxy's 404 is a refusal": instead((_, call, a) => call === 'send' && !a.state && a.status === 404, () => over('refused')),
  'unknown counts as executed': instead((_, __, a) => a.state === 'unknown', () => over('executed')),
  'running counts as executed': instead((_, __, a) => a.state === 'executing', () => over('executed')),
  'unseen counts as cancelled': instead((_, call, a) => call === 'ask' && a.state === 'unseen', () => over('cancelled')),
  'too late counts as cancelled': instead((_, call, a) => call === 'cancel' && a.code === 'too-late', () => over('cancelled')),
  'a refusal is told while copies are on their way': instead((_, call, a) => call === 'send' && a.code === 'forbidden', () => over('refused')),
  'a key that is too old was never executed': instead((_, call, a) => call === 'send' && a.code === 'key-too-old', () => over('refused')),
  'a cancellation of what is too old succeeds': instead((_, call, a) => call === 'cancel' && a.code === 'key-too-old', () => over('cancelled')),
  'who is refused an answer was not executed': instead((p, call, a) => p.state === 'executed' && call === 'send' && a.next === 'stop', () => over('refused')),
  'what never arrived is asked for for ever': instead((p, call, a) => p.state === 'doubt' && call === 'ask' && a.state === 'unseen', (p) => ({ progress: p, do: 'ask', floor: 0 })),
  'what was sent is cancelled without a word': { ...right, wish: (p, what) => (p.state === 'queued' ? over('cancelled') : wish(p, what)) },
  'sends are not counted': { ...right, begin: (p) => ({ ...begin(p), progress: { ...begin(p).progress, sends: p.sends } }) },
};

for (const [mistake, machine] of Object.entries(wrong)) {
  test(`the exploration notices: ${mistake}`, () => {
    assert.throws(() => explore(machine));
  });
}
