import type { Entry, Outbox } from './outbox.js';
import { read, readQuery, replayed } from './reading.js';
import { begin, type CallKind, type Move, type Progress, type Reading, step } from './step.js';
import { type Backoff, jittered, pause, RetryBudget, Slots, unless } from './time.js';
import { type Answer, attempt, type Call, type Connection, prepare, reconciliation } from './transport.js';

/** How a worker goes about it. Times are in milliseconds unless they say otherwise. */
export interface Manners {
  /** Header field of the key. Default: "Idempotency-Key". */
  keyHeader?: string;
  /** Seconds for which the gateway may hold an answer until there is news. Default: 20. */
  wait?: number;
  /** After this an attempt counts as unanswered. Default: 60,000. */
  timeout?: number;
  /** Before a further attempt: a random time up to base × 2ⁿ, at most max. Default: 500 and 30,000. */
  backoff?: Backoff;
  /** Further attempts of all intents together: burst at once, then one per interval. Default: 20 and 500. */
  budget?: { burst: number; interval: number };
  /** While the browser says that it is offline, which may be wrong, one try in so long. Default: 30,000. */
  offline?: number;
  /** Attempts under way at a time, as browsers do not open many connections. Default: 4. */
  parallel?: number;
  random?: () => number;
}

interface Parts {
  connection: Connection;
  manners: Manners;
  outbox: Outbox;
  /** Called when an entry was settled, or has left the outbox. */
  settled: (key: string) => void;
  /** Called when an entry is left alone until resume: nothing that a client could do by itself would help. */
  halted: (key: string, reading: Reading) => void;
  /** Called with what the outbox or authorize threw. The worker tries again. */
  failed: (error: unknown) => void;
  online: () => boolean;
}

/** What one entry is doing. */
interface Run {
  wake: AbortController; // ends a pause, and a question
  interrupt: AbortController; // ends a call
  strange: number; // sends in a row that somebody else than the gateway answered with success
  end: AbortController; // ends it all. One for each: a signal with many listeners looks like a leak
}

/** Works through an outbox. It holds no state of its own that matters: all of it is in the outbox before anything is sent. */
export class Worker {
  #parts: Parts;
  #runs = new Map<string, Run>();
  #halted = new Set<string>();
  #ended = new Set<Promise<void>>();
  #stopped = false;
  #budget: RetryBudget;
  #slots: Slots;
  #asks: Ask[] = [];
  #coming = new Set<string>(); // taken up in doubt, and not yet among those who ask

  constructor(parts: Parts) {
    this.#parts = parts;
    const { burst, interval } = parts.manners.budget ?? { burst: 20, interval: 500 };
    this.#budget = new RetryBudget(burst, interval, Date.now());
    this.#slots = new Slots(parts.manners.parallel ?? 4);
  }

  /**
   * Takes up everything that is not settled, what was halted only if told so, and cuts pauses short. What is in doubt is asked
   * for first, all in one call.
   */
  async resume(halted: boolean): Promise<void> {
    for (const { key, progress } of await this.#parts.outbox.all()) {
      if (progress.state === 'settled' || (!halted && this.#halted.has(key))) continue;
      if (!this.#runs.has(key) && begin(progress).do === 'ask') this.#coming.add(key);
      this.look(key);
    }
  }

  /** Looks at an entry now; with interrupt, also if a call for it is under way. */
  look(key: string, interrupt = false): void {
    if (this.#stopped) return;
    const running = this.#runs.get(key);
    if (running) {
      running.wake.abort();
      if (interrupt) running.interrupt.abort();
      return;
    }
    this.#halted.delete(key);
    const run = { strange: 0, wake: new AbortController(), interrupt: new AbortController(), end: new AbortController() };
    this.#runs.set(key, run);
    const ended = this.#run(key, run).finally(() => {
      this.#runs.delete(key);
      this.#coming.delete(key);
      this.#ended.delete(ended);
      if (run.wake.signal.aborted) this.look(key); // somebody came while it was ending
    });
    this.#ended.add(ended);
  }

  /** Ends all calls. What they were about is in doubt, as the outbox says. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const run of this.#runs.values()) run.end.abort();
    await Promise.all(this.#ended);
  }

  /** Takes one entry from move to move, until it is over or halted. */
  async #run(key: string, run: Run): Promise<void> {
    for (let tries = 0, floor = 0; !this.#stopped; tries++) {
      await this.#turn(tries, floor, run);
      if (run.wake.signal.aborted) {
        run.wake = new AbortController();
        tries = 0;
        await pause(floor - Date.now(), run.end.signal); // whatever happens here, the gateway has asked for it
      }
      await this.#online(run);
      if (this.#stopped) return;
      try {
        const before = await this.#parts.outbox.get(key);
        const move = before && (await this.#attempt(before, run));
        if (!move || move.do === 'finish' || move.do === 'halt') return;
        floor = Date.now() + move.floor * 1000;
        const { state } = move.progress;
        if (state !== before.progress.state && (state === 'executed' || state === 'cancelling')) tries = -1; // news: go on at once
      } catch (error) {
        this.#coming.delete(key);
        this.#parts.failed(error); // of the outbox or of authorize: the outbox tells where to go on
      }
    }
  }

  /** Waits until it is time for the next call. */
  #turn(tries: number, floor: number, run: Run): Promise<void> {
    const { backoff = { base: 500, max: 30_000 }, random = Math.random } = this.#parts.manners;
    const again = tries === 0 ? 0 : Math.max(jittered(tries - 1, backoff, random), this.#budget.take(Date.now()));
    return pause(Math.max(floor - Date.now(), again), run.end.signal, run.wake.signal);
  }

  /** Waits until the browser is online, but not for ever: it may be wrong. */
  async #online(run: Run): Promise<void> {
    const { manners, online } = this.#parts;
    for (const end = Date.now() + (manners.offline ?? 30_000); !online() && Date.now() < end && !this.#stopped; ) {
      run.wake = new AbortController();
      await pause(end - Date.now(), run.end.signal, run.wake.signal);
    }
  }

  /** Makes one call for an entry, and writes down what comes of it. Undefined: the entry is gone. */
  async #attempt(entry: Entry, run: Run): Promise<Move | undefined> {
    const { key } = entry;
    const plan = begin(entry.progress);
    if (plan.do !== 'ask') this.#coming.delete(key);
    if (plan.do === 'finish' || plan.do === 'halt') return plan;
    if (plan.do === 'ask') {
      const reading = await this.#ask(key, entry.progress.denied === true, run.wake.signal, run.end.signal);
      if (!reading) return plan;
      // Requests that are answered with success, and that the gateway has not seen, go past it, or to a route that it does not
      // protect. Each further one could be executed.
      const bypassed = reading.state === 'unseen' && run.strange > 1;
      return this.#move(key, (p) => ({ ...step(p, 'ask', reading), ...(bypassed && { do: 'halt' }) }), reading);
    }
    return this.#slots.with(() => this.#call(plan.do as CallKind, entry, run));
  }

  async #call(what: CallKind, entry: Entry, run: Run): Promise<Move | undefined> {
    const { connection, manners } = this.#parts;
    const request = await prepare(connection, this.#request(what, entry), entry.progress.denied);
    const begun = await this.#move(entry.key, begin);
    if (begun?.do !== what) return begun; // somebody has wished otherwise meanwhile
    run.interrupt = new AbortController();
    let answer = await attempt(connection, request, manners.timeout ?? 60_000, run.end.signal, run.interrupt.signal);
    if (answer === 'redirect') answer = await this.#recorded(entry.key, run.end.signal);
    const reading = read(answer, Date.now());
    if (what === 'send' && reading.state) run.strange = 0;
    else if (what === 'send' && reading.status >= 200 && reading.status < 300) run.strange++;
    return this.#move(entry.key, (p) => step(p, what, reading), reading, answer);
  }

  /** Changes an entry in the outbox. */
  async #move(key: string, decide: (p: Progress) => Move, reading?: Reading, answer?: Answer): Promise<Move | undefined> {
    let move: Move | undefined;
    await this.#parts.outbox.update(key, (entry) => {
      move = decide(entry.progress);
      return apply(entry, move, answer);
    });
    if (move?.do === 'finish') this.#parts.settled(key);
    if (move?.do === 'halt' && reading) {
      this.#halted.add(key);
      this.#parts.halted(key, reading);
    }
    return move;
  }

  #request(what: CallKind, entry: Entry): Call {
    const { connection, manners } = this.#parts;
    const about = (part: string) => reconciliation(connection, `/requests/${encodeURIComponent(entry.key)}/${part}`).href;
    // A key without a date of its own gets one, so that it is never taken for a new one after its record is gone.
    const firstSent: [string, string][] = [['idempotency-first-sent', new Date(entry.created).toISOString()]];
    switch (what) {
      case 'cancel':
        return { method: 'PUT', url: about('cancellation'), headers: firstSent };
      case 'acknowledge':
        return { method: 'PUT', url: about('acknowledgement') };
      default: {
        const own: [string, string][] = [[manners.keyHeader ?? 'idempotency-key', entry.key], ['prefer', `wait=${manners.wait ?? 20}`]];
        return { ...entry.request, headers: [...entry.request.headers, ...own, ...firstSent] };
      }
    }
  }

  /**
   * Asks for a record. All who ask at the same time share one call: after a reconnect that is everybody. Undefined after one of
   * the signals; a call that nobody listens to any more is ended.
   */
  async #ask(key: string, denied: boolean, ...signals: AbortSignal[]): Promise<Reading | undefined> {
    const ask: Ask = { key, denied, tell: () => {}, leave: () => {} };
    const told = new Promise<Reading>((resolve) => (ask.tell = resolve));
    this.#asks.push(ask);
    this.#coming.delete(key);
    if (this.#asks.length === 1) this.#gather(200);
    return unless(told, ...signals).finally(() => ask.leave());
  }

  /** Asks for all who come within 5 ms, and waits a second for those who were taken up: a slow outbox gives out one after the other. */
  #gather(looks: number): void {
    setTimeout(() => (this.#coming.size > 0 && looks > 1 ? this.#gather(looks - 1) : this.#askAll(this.#asks.splice(0))), 5);
  }

  #askAll(asks: Ask[]): void {
    const some = asks.splice(0, 100); // as many as the gateway takes
    if (asks.length > 0) this.#askAll(asks);
    const end = new AbortController();
    let listening = some.length;
    for (const ask of some) ask.leave = () => --listening === 0 && end.abort();
    this.#query(some.map((a) => a.key), some.some((a) => a.denied), end.signal)
      .catch((error: unknown) => {
        this.#parts.failed(error); // of authorize: nothing was asked
        return () => read(undefined, 0);
      })
      .then((reading) => some.forEach((ask) => ask.tell(reading(ask.key))));
  }

  /** Asks for one record, for which the gateway may wait until there is news, or for many as they are now. */
  async #query(keys: string[], denied: boolean, stop: AbortSignal): Promise<(key: string) => Reading> {
    const { connection, manners } = this.#parts;
    const [only] = keys;
    const wait = manners.wait ?? 20;
    const call: Call =
      keys.length === 1
        ? { method: 'GET', url: reconciliation(connection, `/requests/${encodeURIComponent(only!)}?wait=${wait}`).href }
        : { method: 'POST', url: reconciliation(connection, '/query').href, headers: [['content-type', 'application/json']], body: new TextEncoder().encode(JSON.stringify({ keys })) };
    const request = await prepare(connection, call, denied);
    const answer = await attempt(connection, request, wait * 1000 + (manners.timeout ?? 60_000), stop);
    const seen = answer === 'redirect' ? undefined : answer;
    return keys.length === 1 ? () => read(seen, Date.now()) : readQuery(seen, Date.now());
  }

  /** The recorded answer to a request, for a redirect: a browser does not show one to its pages. */
  async #recorded(key: string, stop: AbortSignal): Promise<Answer | undefined> {
    const { connection, manners } = this.#parts;
    const request = await prepare(connection, { method: 'GET', url: reconciliation(connection, `/requests/${encodeURIComponent(key)}?include=body`).href });
    const answer = await attempt(connection, request, manners.timeout ?? 60_000, stop);
    return answer === 'redirect' || !answer ? undefined : replayed(answer);
  }
}

interface Ask {
  key: string;
  denied: boolean;
  tell: (reading: Reading) => void;
  leave: () => void;
}

/** What a move makes of an entry; undefined: it is not needed any more. */
function apply(entry: Entry, move: Move, answer?: Answer): Entry | undefined {
  if (entry.progress.state === 'acknowledging' && move.progress.state === 'settled') return undefined;
  const { answer: kept, ...rest } = entry;
  const over = move.progress.state === 'settled' && move.progress.outcome !== 'refused';
  const keep = move.keep && answer ? { status: answer.status, headers: answer.headers, body: answer.body } : over ? undefined : kept;
  return { ...rest, progress: move.progress, ...(keep && { answer: keep }) };
}
