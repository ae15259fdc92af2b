/** A broker with roles, identities and nodes, and the same calls over gRPC and over HTTP. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  explainRequestCodec,
  forgetNodesRequestCodec,
  type SubscribeRequest,
  setBudgetRequestCodec,
  subscribeRequestCodec,
} from '../../../src/wire/messages.js';
import { auditEntries } from '../broker/documents.js';
import { GrpcCaller } from '../broker/grpc-call.js';
import { Harness } from '../broker/harness.js';
import { RawHttp2 } from '../broker/raw-http2.js';
import { TestRecorder } from '../broker/test-agent.js';
import { until } from '../until.js';
import { Identities } from './identities.js';

/** The prod nodes have events that match triage's filter and one that does not; those of prod-old are two hours old. */
export const ROLES = `
roles:
  triage:
    verbs: [view, subscribe, history]
    topics: [process, security]
    nodes: ["prod-*"]
    history: 1h
    filter: process.pid != 666
    budgets: { streams: 2, queries: 1 }
    deny: { nodes: [prod-secret] }
  live: { verbs: [subscribe] }
  viewer: { verbs: [view], nodes: [test-1] }
  operator: { verbs: [manage, view], nodes: ["test-*"] }
  overseer: { verbs: [view] }
  slow: { verbs: [view], budgets: { rate: 1 } }
  edge: { verbs: [uplink], nodes: ["edge-*"], deny: { nodes: [edge-9] } }
  two: { verbs: [view, history], topics: [network] }
  no-network: { deny: { topics: [network] } }
  barred: { deny: { verbs: [view] } }
bindings:
  - { role: triage, identities: [alice] }
  - { role: live, identities: [live] }
  - { role: viewer, identities: [viewer, barred] }
  - { role: operator, identities: ["op-*"] }
  - { role: overseer, identities: [overseer] }
  - { role: slow, identities: [slow] }
  - { role: edge, identities: [edge] }
  - { role: two, identities: [two] }
  - { role: two, identities: [denied] }
  - { role: no-network, identities: [denied] }
  - { role: barred, identities: [barred] }
`;
export const NAMES = [
  'alice',
  'live',
  'viewer',
  'op-1',
  'overseer',
  'slow',
  'edge',
  'two',
  'denied',
  'barred',
  'nobody',
];

export interface Told {
  /** gRPC's status, HTTP's, and the broker's code. */
  readonly grpc: number;
  readonly http: number;
  readonly code: string;
}
export const UNAUTHENTICATED: Told = { grpc: 16, http: 401, code: 'unauthenticated' };
export const DENIED: Told = { grpc: 7, http: 403, code: 'permission_denied' };
export const EXHAUSTED: Told = { grpc: 8, http: 429, code: 'resource_exhausted' };

export interface Ask {
  readonly method: string;
  readonly message: Buffer;
  readonly http: readonly [method: string, path: string, body?: object];
}

export const NODES: Ask = { method: 'ListNodes', message: Buffer.alloc(0), http: ['GET', '/v1/nodes'] };
export const TOPICS: Ask = { method: 'ListTopics', message: Buffer.alloc(0), http: ['GET', '/v1/topics'] };
export const events = (request: SubscribeRequest): Ask => {
  return { method: 'Subscribe', message: subscribeRequestCodec.encode(request), http: ['POST', '/v1/events', request] };
};
export const explain = (subscription: SubscribeRequest): Ask => {
  const message = explainRequestCodec.encode({ subscription });
  return { method: 'Explain', message, http: ['POST', '/v1/explain', { subscription }] };
};
export const budget = (...nodes: string[]): Ask => {
  const request = { nodes, budget: { liveEventsPerSecond: '100' } };
  return { method: 'SetBudget', message: setBudgetRequestCodec.encode(request), http: ['PUT', '/v1/budgets', request] };
};
export const forget = (node: string): Ask => {
  const message = forgetNodesRequestCodec.encode({ nodes: [node] });
  return { method: 'ForgetNodes', message, http: ['DELETE', `/v1/nodes/${node}`] };
};

/** The value of an Authorization header. */
export const bearer = (token: string) => [`Bearer ${token}`];

interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export class GuardedBroker {
  readonly identities = new Identities(ROLES, NAMES);
  readonly harness = new Harness();
  /** A token that has expired. */
  expired = '';
  grpc!: GrpcCaller;

  static async start(): Promise<GuardedBroker> {
    const guarded = new GuardedBroker();
    const { harness, identities } = guarded;
    harness.wantsToken = true;
    harness.access = identities.files;
    guarded.expired = identities.issue('expired', 1);
    await sleep(2);
    await harness.startBroker();
    guarded.grpc = new GrpcCaller(harness.broker.grpcAddress);
    const longAgo = new TestRecorder('r-old', 1, BigInt(Date.now() - 7_200_000) * 1_000_000n);
    for (const pid of [1, 2]) longAgo.record('process.exec', pid);
    await harness.agent('prod-old', longAgo);
    for (const [node, first] of [
      ['prod-1', 10],
      ['prod-secret', 20],
      ['test-1', 30],
    ] as const) {
      const recorder = new TestRecorder(`r-${node}`);
      for (const pid of [first, first + 1, 666]) recorder.record('process.exec', pid);
      recorder.record('network.tcp.connect', first + 5);
      await harness.agent(node, recorder);
    }
    return guarded;
  }

  async destroy(): Promise<void> {
    this.grpc.close();
    await this.harness.destroy();
  }

  /** The broker's own token. */
  get own(): string {
    return readFileSync(join(this.harness.dataDir, 'token'), 'utf8').trim();
  }

  /** What `name` sends as Authorization. */
  as(name: string): readonly string[] {
    return bearer(this.identities.token(name));
  }

  /** Entries of the audit. */
  record(): Promise<Record<string, unknown>[]> {
    return auditEntries(this.harness, this.own);
  }

  async overHttp([method, path, body]: Ask['http'], authorization: readonly string[]): Promise<HttpAnswer> {
    const headers = { ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    return new Promise<HttpAnswer>((resolve, reject) => {
      const request = httpRequest(
        `http://${this.harness.broker.httpAddress}${path}`,
        { method, headers },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (piece: string) => {
            text += piece;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        },
      );
      request.on('error', reject);
      if (authorization.length > 0) request.setHeader('authorization', [...authorization] as never);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Asks over both transports: each refuses, alike. */
  async refused(ask: Ask, authorization: readonly string[], told: Told, message: RegExp): Promise<void> {
    if (authorization.length > 1) await this.#refusedByHand(ask, authorization);
    else {
      const byGrpc = await this.grpc.call(`/backplane.v1.Backplane/${ask.method}`, authorization[0], ask.message);
      assert.deepEqual([byGrpc.status, byGrpc.code], [told.grpc, told.code], byGrpc.message);
      assert.match(byGrpc.message, message);
      assert.equal(byGrpc.messages.length, 0, 'nothing is told before the refusal');
    }
    const byHttp = await this.overHttp(ask.http, authorization);
    const problem = JSON.parse(byHttp.body) as { status: number; code: string; detail: string };
    assert.deepEqual([byHttp.status, problem.status, problem.code], [told.http, told.http, told.code], byHttp.body);
    assert.match(problem.detail, message);
  }

  /** Node sends no header twice. Who is let in would be waited for, as no message comes. */
  async #refusedByHand({ method }: Ask, authorization: readonly string[]): Promise<void> {
    const raw = await RawHttp2.connect(this.harness.broker.grpcAddress);
    const headers = authorization.map((value) => ['authorization', value] as const);
    raw.request(1, `/backplane.v1.Backplane/${method}`, headers);
    await until('the refusal', () => raw.ended.has(1));
    raw.destroy();
  }

  /** `node:pid` of the events of one replay over HTTP, sorted. */
  async replayed(request: SubscribeRequest, who: readonly string[]): Promise<readonly string[]> {
    const { status, body } = await this.overHttp(events(request).http, who);
    assert.equal(status, 200, body);
    return eventsIn(body);
  }
}

/** `node:pid` of the events in lines of JSON, sorted. */
export function eventsIn(body: string): readonly string[] {
  const seen = body
    .trim()
    .split('\n')
    .flatMap((line) => {
      const { result } = JSON.parse(line) as { result?: { event?: { node: string; process: { pid: number } } } };
      return result?.event === undefined ? [] : [`${result.event.node}:${result.event.process.pid}`];
    });
  return seen.sort();
}
