/** Resolves after some milliseconds, or earlier when one of the signals is aborted. */
export function pause(ms: number, ...signals: AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, Math.min(Math.max(ms, 0), 2 ** 31 - 1)); // beyond that, a browser takes it for something else
    for (const signal of signals) signal.addEventListener('abort', end);
    if (signals.some((s) => s.aborted)) end();
  });
}

/** Waits for something, but no longer than until one of the signals is aborted: then it is undefined. */
export async function unless<T>(promise: Promise<T>, ...signals: AbortSignal[]): Promise<T | undefined> {
  const over = new AbortController();
  const ended = pause(Infinity, over.signal, ...signals).then(() => undefined);
  return Promise.race([promise, ended]).finally(() => over.abort());
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

/** Back-off with full jitter: anything up to base × 2ⁿ, at most max (all in milliseconds). */
export function jittered(n: number, { base, max }: Backoff, random: () => number): number {
  return random() * Math.min(max, base * 2 ** Math.min(n, 30));
}

export interface Backoff {
  base: number;
  max: number;
}

/**
 * Bounds how often all intents together try again, so that many of them do not become a storm when the gateway is down: burst
 * at once, then one in so many milliseconds. First tries are free.
 */
export class RetryBudget {
  #tokens: number;
  #burst: number;
  #interval: number;
  #since: number;

  constructor(burst: number, interval: number, now: number) {
    this.#tokens = this.#burst = burst;
    this.#interval = interval;
    this.#since = now;
  }

  /** Takes one try, and returns how many milliseconds it has to wait for its turn. */
  take(now: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#since) / this.#interval) - 1;
    this.#since = now;
    return Math.max(0, -this.#tokens * this.#interval);
  }
}

/** Lets so many in at a time, in the order in which they came. */
export class Slots {
  #free: number;
  #line: (() => void)[] = [];

  constructor(n: number) {
    this.#free = n;
  }

  async with<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#line.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
