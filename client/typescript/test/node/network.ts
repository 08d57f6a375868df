import assert from 'node:assert/strict';

/** Random numbers that a seed repeats (mulberry32). */
export function dice(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type State = 'executing' | 'completed' | 'not_executed' | 'unknown' | 'cancelled' | 'forgotten';

/**
 * A gateway in memory behind a network that loses requests and answers, cuts answers, delivers requests late and twice, and
 * answers itself. In the end everything heals: after so many calls the network is good.
 */
export class Network {
  readonly effects = new Map<string, number>();
  readonly authorizations: (string | null)[] = [];
  #records = new Map<string, { state: State; body: string }>();
  #random: () => number;
  #faults: number;
  /** The token that it takes; another one is answered with 401. */
  token: string | undefined;

  constructor(random: () => number, faults: number) {
    this.#random = random;
    this.#faults = faults;
  }

  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    const body = await request.clone().text();
    const fault = this.#faults-- > 0 ? Math.floor(this.#random() * 10) : 10;
    await this.#while();
    if (init?.signal?.aborted) throw new DOMException('', 'AbortError');
    switch (fault) {
      case 0:
        throw new TypeError('lost on its way');
      case 1:
        void this.#while(20).then(() => this.#handle(request, body));
        throw new TypeError('late');
      case 2:
        this.#handle(request, body);
        throw new TypeError('the answer is lost');
      case 3:
        return cut(this.#handle(request, body));
      case 4:
        return new Response('<html>sign in to this network</html>', { status: 200 });
      case 5:
        return new Response('bad gateway', { status: 502 });
      case 6:
        void this.#while(20).then(() => this.#handle(request, body)); // and once more
        return this.#handle(request, body);
      default:
        return this.#handle(request, body);
    }
  };

  #while(ms = 3): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#random() * ms));
  }

  #handle(request: Request, body: string): Response {
    this.authorizations.push(request.headers.get('authorization'));
    if (this.token !== undefined && request.headers.get('authorization') !== this.token) return says(401, 'rejected', 'stop', { code: 'unauthenticated' });
    const { pathname } = new URL(request.url);
    const [, key, part] = /^\/_reconcile\/v1\/requests\/([^/]+)(?:\/(.+))?$/.exec(pathname) ?? [];
    if (key === undefined) return pathname === '/_reconcile/v1/query' ? this.#query(JSON.parse(body)) : this.#protected(request, body);
    const record = this.#records.get(decodeURIComponent(key));
    if (part === 'cancellation') {
      if (record && record.state !== 'cancelled' && record.state !== 'not_executed') return says(409, record.state, next(record.state), { code: 'too-late' });
      this.#records.set(decodeURIComponent(key), { state: 'cancelled', body: '' });
      return says(200, 'cancelled', 'stop');
    }
    if (part === 'acknowledgement') {
      if (record?.state === 'completed') record.state = 'forgotten';
      return says(204, record?.state ?? 'unseen', 'done');
    }
    return record ? says(200, record.state, next(record.state), { state: record.state }) : says(404, 'unseen', 'resend', { code: 'unseen' });
  }

  #query({ keys }: { keys: string[] }): Response {
    const records = keys.flatMap((key) => {
      const state = this.#records.get(key)?.state;
      return state ? [{ key, state, next: next(state) }] : [];
    });
    return says(200, 'completed', 'done', { records, unseen: keys.filter((key) => !this.#records.has(key)) });
  }

  #protected(request: Request, body: string): Response {
    const key = request.headers.get('idempotency-key')!;
    assert.ok(key, 'every request has its key');
    const record = this.#records.get(key) ?? { state: 'not_executed', body: '' };
    switch (record.state) {
      case 'completed': return new Response(record.body, { status: 201, headers: fields('replayed', 'done') });
      case 'forgotten': return says(410, 'forgotten', 'done', { code: 'response-forgotten' });
      case 'cancelled': return says(409, 'cancelled', 'stop', { code: 'cancelled' });
      case 'executing': return says(409, 'executing', 'wait', { code: 'in-progress' });
      case 'unknown': return says(409, 'unknown', 'reconcile', { code: 'outcome-unknown' });
      case 'not_executed': break;
    }
    if (this.#random() < 0.2 && this.#faults > 0) return says(503, 'rejected', 'resend', { code: 'overloaded' });
    this.#records.set(key, record);
    const execute = () => {
      this.effects.set(key, (this.effects.get(key) ?? 0) + 1);
      Object.assign(record, { state: 'completed', body: `did ${body}` });
    };
    const luck = this.#faults > 0 ? this.#random() : 1;
    if (luck < 0.15) {
      record.state = 'not_executed';
      return says(503, 'not_executed', 'resend', { code: 'backend-unreachable' });
    }
    if (luck < 0.4) { // it takes longer than the client is there, or nobody knows for a while
      record.state = luck < 0.3 ? 'executing' : 'unknown';
      void this.#while(20).then(() => (this.#random() < 0.5 ? execute() : (record.state = 'not_executed')));
      return luck < 0.3 ? says(409, 'executing', 'wait', { code: 'in-progress' }) : says(502, 'unknown', 'reconcile', { code: 'outcome-unknown' });
    }
    execute();
    return new Response(record.body, { status: 201, headers: fields('executed', 'done') });
  }
}

function next(state: State): string {
  return { executing: 'wait', completed: 'done', not_executed: 'resend', unknown: 'reconcile', cancelled: 'stop', forgotten: 'done' }[state];
}

function fields(state: string, next: string): Record<string, string> {
  return { 'Idempotency-State': state, 'Idempotency-Next': next };
}

function says(status: number, state: string, next: string, content?: object): Response {
  return new Response(status === 204 ? null : JSON.stringify(content ?? {}), { status, headers: fields(state, next) });
}

/** The same answer, but its content breaks off. */
function cut(response: Response): Response {
  const body = new ReadableStream({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode('{"'));
      controller.error(new TypeError('cut'));
    },
  });
  return new Response(response.status === 204 ? null : body, { status: response.status, headers: response.headers });
}
