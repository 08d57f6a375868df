import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/** What the Go test has started: a gateway, the backend's control, its ledger, and a server for pages of another origin. */
export interface Rig {
  gateway: string;
  /** The same gateway, by a relay that cuts its first connections after some bytes, in either direction. */
  tunnel: string;
  pages: string;
  /** Lets all requests pass that wait at a gate of the backend. */
  open: (gate: string) => Promise<void>;
  /** Returns when so many requests wait at a gate. */
  arrived: (gate: string, n: number) => Promise<void>;
  /** How often a key was executed, on the backend's own word. */
  effects: (key: string) => number;
  /** The header fields that the backend got with a key. */
  received: (key: string) => Record<string, string[]>[];
}

/** Undefined, and why, if the tests were not started by go test. */
export const rig: Rig | undefined = process.env['TEST_GATEWAY'] ? started(process.env as Record<string, string>) : undefined;
export const noRig = rig ? false : 'needs a gateway: go test ./cmd/onceway/e2e -run TypeScript starts one';

/** Far above what a loaded machine needs. */
export const limit = { timeout: 100_000 };

function started(env: Record<string, string>): Rig {
  const gates = async (method: string, path: string) => {
    const answer = await fetch(`${env['TEST_GATES']}/gates/${path}`, { method });
    assert.equal(answer.status, 200);
  };
  const lines = (event: string, key: string) =>
    readFileSync(env['TEST_LEDGER']!, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { Event: string; Key: string; Header: Record<string, string[]> })
      .filter((e) => e.Event === event && e.Key === key);
  return {
    gateway: env['TEST_GATEWAY']!,
    tunnel: env['TEST_TUNNEL']!,
    pages: env['TEST_PAGES']!,
    open: (gate) => gates('POST', gate),
    arrived: (gate, n) => gates('GET', `${gate}?n=${n}`),
    effects: (key) => lines('effect', key).length,
    received: (key) => lines('begin', key).map((e) => e.Header),
  };
}

/** A field that tells the backend what to do: see internal/ledger. */
export function script(what: { Before?: string; After?: string; Then?: string; Status?: number; Header?: Record<string, string[]>; Body?: string }): Record<string, string> {
  return { 'x-script': JSON.stringify(what) };
}

/** Polls until something is so. Bounded far above what a loaded machine needs. */
export async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; !(await done()); ) {
    assert.ok(Date.now() < end, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
