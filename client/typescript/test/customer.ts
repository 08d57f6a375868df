// A program that uses the client, and that a test in another language drives: a line of JSON in, a line of JSON out. It plays
// many customers, each with an outbox of its own. See cmd/onceway/e2e/customer_test.go.

import { createInterface } from 'node:readline';
import { Client } from '#src/client.js';
import { MemoryOutbox } from '#src/outbox.js';
import { until } from './rig.js';

interface Command {
  id: number; // of the reply
  customer: string;
  do: keyof Customer;
  with: unknown;
}

interface Order {
  path: string;
  key: string;
  body: string;
  headers: Record<string, string>;
}

class Customer {
  #name: string;
  #outbox = new MemoryOutbox();
  #client: Client | undefined;
  #calls = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** Begins, or begins anew with what is in the outbox. */
  async start({ gateway, timeout }: { gateway: string; timeout: number }): Promise<void> {
    this.#client = new Client({
      gateway,
      name: this.#name,
      timeout,
      wait: 1,
      outbox: this.#outbox,
      backoff: { base: 20, max: 3000 },
      budget: { burst: 1000, interval: 1 },
      fetch: (...args) => (this.#calls++, fetch(...args)),
    });
  }

  stop(): Promise<void> {
    return this.#client!.close();
  }

  async order({ path, ...init }: Order): Promise<void> {
    this.#client!.submit(path, init).catch(() => {}); // outcome tells
  }

  async unwant(key: string): Promise<void> {
    this.#client!.cancel(key).catch(() => {});
  }

  async calls(): Promise<number> {
    return this.#calls;
  }

  called(n: number): Promise<void> {
    return until(`${n} calls`, () => this.#calls >= n);
  }

  stands({ key, state }: { key: string; state: string }): Promise<void> {
    return until(`${key} stands at ${state}`, async () => (await this.#outbox.get(key))?.progress.state === state);
  }

  async outcome(key: string): Promise<string> {
    const { outcome, response } = await this.#client!.settled(key);
    return response ? `${outcome} ${response.status} ${await response.text()}` : outcome;
  }

  async unsettled(): Promise<number> {
    return (await this.#outbox.all()).filter((e) => e.progress.state !== 'settled').length;
  }
}

const customers = new Map<string, Customer>();

async function obey(command: Command): Promise<unknown> {
  const customer = customers.get(command.customer) ?? new Customer(command.customer);
  customers.set(command.customer, customer);
  return customer[command.do](command.with as never);
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line) as Command;
  obey(command)
    .then((value) => ({ value }), (error: unknown) => ({ error: String(error) }))
    .then((reply) => console.log(JSON.stringify({ id: command.id, ...reply })));
});
