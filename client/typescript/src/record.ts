import type { Next } from './step.js';

/** What the gateway knows of a request: see openapi/reconciliation.yaml. Instants are RFC 3339 in UTC. */
export interface GatewayRecord {
  key: string;
  operation: string;
  state: 'executing' | 'completed' | 'not_executed' | 'unknown' | 'cancelled' | 'forgotten';
  next: Next;
  revision: number;
  attempts: number;
  request: { method: string; target: string; fingerprint: string } | null;
  response: {
    status: number;
    headers?: Record<string, string[]>;
    length: number;
    digest: string;
    body_available: boolean;
    body?: string;
    body_encoding?: 'utf-8' | 'base64';
  } | null;
  times: Record<'first_seen' | 'dispatched' | 'settled' | 'body_expires' | 'expires', string | null>;
  resolution: { by: string; evidence: string; at: string } | null;
  trace_id?: string;
}
