// The machine of docs/client-protocol.md: what a client knows of one intent, what it does next, and what an answer makes
// of that. All of it is pure; client/vectors has the situations that every implementation must decide alike.

/**
 * queued: to be sent. doubt: sent, perhaps; ask before sending again. executed: it was, but the answer is not here yet.
 * cancelling, acknowledging: the gateway is to be told. settled: over.
 */
export type State = 'queued' | 'doubt' | 'executed' | 'cancelling' | 'acknowledging' | 'settled';

/**
 * executed: once, on the gateway's word. cancelled: it never will be. refused: it was not and never will be; the answer
 * says why. expired: nobody can tell any more. unprotected: it was answered on a route that protects nothing.
 */
export type Outcome = 'executed' | 'cancelled' | 'refused' | 'expired' | 'unprotected';

export interface Progress {
  state: State;
  /**
   * How many copies were sent in search of an outcome. Nobody can say of a copy where it is, and a browser or a proxy may have
   * made another: so before a refusal is told, or an intent given up, all of them have to be forbidden.
   */
  sends: number;
  outcome?: Outcome;
  /** It is being cancelled because a copy was refused. */
  refusal?: boolean;
  /** The last answer was 401. */
  denied?: boolean;
}

export type Next = 'done' | 'wait' | 'resend' | 'reconcile' | 'stop';
export type CallKind = 'send' | 'ask' | 'cancel' | 'acknowledge';

/** What matters of an answer, or of none. */
export interface Reading {
  status: number; // 0: there was no answer
  state?: string; // Idempotency-State: without it something else than the gateway answered, which proves nothing
  next?: string; // Idempotency-Next
  code?: string; // of a problem
  whole: boolean; // the content came to its end
  floor: number; // seconds to wait at least
}

export interface Move {
  progress: Progress;
  /** What to do next. halt: nothing, until somebody changes something (new credentials, another address). */
  do: CallKind | 'finish' | 'halt';
  floor: number; // seconds to wait before that, at least
  /** Get new credentials before that. */
  authorize?: boolean;
  /** Keep this answer with the intent: it is the outcome's, or a refusal's that is to be the outcome. */
  keep?: boolean;
}

const act: Record<State, Move['do']> = {
  queued: 'send', doubt: 'ask', executed: 'send', cancelling: 'cancel', acknowledging: 'acknowledge', settled: 'finish',
};

/** What to do now, and the progress to write down before its first byte. */
export function begin(p: Progress): Move {
  return go(p, p.state === 'queued' ? { state: 'doubt', sends: p.sends + 1 } : {}, 0, act[p.state]);
}

/** What an answer to a call means. */
export function step(p: Progress, call: CallKind, a: Reading): Move {
  if (p.state === 'settled') return go(p);
  const signed = a.state !== undefined;
  if (a.status === 401 && !(signed && a.next === 'done')) {
    // New credentials are worth one more try; after that somebody has to sign in again.
    const denied = go(p, { denied: true, ...(signed && call === 'send' && p.state === 'doubt' && { state: 'queued' }) }, a.floor);
    return p.denied ? { ...denied, do: 'halt', floor: 0 } : { ...denied, authorize: true };
  }
  if (!signed) return go(p, {}, a.floor); // nobody knows who this was: nothing is learnt
  const { denied: _, ...known } = p;
  return learn(known, call, a);
}

function learn(p: Progress, call: CallKind, a: Reading): Move {
  const same = go(p, {}, a.floor);
  const halt: Move = { ...same, do: 'halt', floor: 0 };
  if (p.state === 'acknowledging') return a.status === 204 || a.state === 'unseen' || a.next === 'stop' ? settle(p.outcome!) : same;
  if (call === 'send' && a.state === 'unprotected') return settle('unprotected', true);
  if (call !== 'send' && a.state === 'rejected') { // about this call, not about the intent
    if (call === 'cancel' && a.code === 'key-too-old') return settle('expired');
    return a.next === 'stop' ? halt : same;
  }
  switch (a.next) {
    case 'done':
      if (a.state === 'forgotten') return settle('executed');
      // The gateway replays its answer to the same request; that executes nothing.
      return call === 'send' && a.whole ? settle('executed', true) : go({ state: 'executed', sends: p.sends });
    case 'stop':
      if (a.state === 'cancelled') return settle(p.refusal ? 'refused' : 'cancelled');
      if (call !== 'send') return halt;
      if (a.status === 422 || a.code === 'key-malformed' || a.code === 'key-missing') return settle('refused', true); // as every copy is
      if (p.state === 'executed') return settle('executed');
      if (p.state !== 'doubt') return same;
      if (a.code === 'key-too-old') return p.sends === 1 ? settle('refused', true) : settle('expired');
      return { ...go(p, { state: 'cancelling', refusal: true }, a.floor), keep: true };
    case 'resend':
      return p.state === 'doubt' ? go(p, { state: 'queued' }, a.floor) : same;
    default: // wait, reconcile, and what a later version may say
      return p.state === 'queued' ? go(p, { state: 'doubt' }, a.floor) : same;
  }
}

/** What a wish of the user's makes of it. A cancellation does not undo what was executed, and is repeated until that is certain. */
export function wish(p: Progress, what: 'cancel' | 'acknowledge'): Move {
  if (what === 'acknowledge') return p.state === 'settled' && p.outcome === 'executed' ? go(p, { state: 'acknowledging' }) : go(p);
  if (p.state === 'queued' && p.sends === 0) return settle('cancelled');
  const { refusal: _, ...unrefused } = p; // whoever did not want it any more does not ask why it was refused
  return p.state === 'queued' || p.state === 'doubt' || p.state === 'cancelling' ? go({ ...unrefused, state: 'cancelling' }) : go(p);
}

function go(p: Progress, change: Partial<Progress> = {}, floor = 0, what?: Move['do']): Move {
  const progress = { ...p, ...change };
  return { progress, do: what ?? act[progress.state], floor };
}

function settle(outcome: Outcome, keep = false): Move {
  return { progress: { state: 'settled', sends: 0, outcome }, do: 'finish', floor: 0, ...(keep && { keep }) };
}
