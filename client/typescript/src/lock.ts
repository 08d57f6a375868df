import { aborted } from './time.js';

/**
 * Runs work while nobody else of the same name does, and keeps the name until work ends. It waits for its turn until
 * the signal is aborted, and then returns without having run anything.
 */
export type Lock = (name: string, signal: AbortSignal, work: () => Promise<void>) => Promise<void>;

/** The lock for where this runs: one tab of an origin at a time where there are Web Locks, else one client of this realm. */
export const defaultLock: Lock = (name, signal, work) =>
  (typeof navigator === 'object' && navigator.locks ? webLock : realmLock)(name, signal, work);

/** A tab that is closed, reloaded or crashes gives its lock up by that: the next one in line goes on. */
const webLock: Lock = async (name, signal, work) => {
  let mine = false;
  try {
    await navigator.locks.request(name, { signal }, () => ((mine = true), work()));
  } catch (error) {
    if (mine || !signal.aborted) throw error;
  }
};

const lastInLine = new Map<string, Promise<unknown>>();

const realmLock: Lock = async (name, signal, work) => {
  const before = lastInLine.get(name) ?? Promise.resolve();
  let leave = () => {};
  const left = new Promise<void>((resolve) => (leave = resolve));
  const turn = before.then(() => left);
  lastInLine.set(name, turn);
  try {
    await Promise.race([before, aborted(signal)]);
    if (!signal.aborted) await work();
  } finally {
    leave();
    void turn.then(() => {
      if (lastInLine.get(name) === turn) lastInLine.delete(name);
    });
  }
};
