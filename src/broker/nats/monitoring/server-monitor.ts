/** What the monitoring of nats-servers says, each of itself only: when it writes to its disk, and what it may fill of it. */
import { readFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import * as z from 'zod';
import { NATS_MONITOR_ANSWER_BYTES_MAX, NATS_MONITOR_ANSWER_MS } from '../../../limits.js';
import { answeredText } from '../../../text/answered-text.js';
import { NATS_NS_PER_MS } from '../stream-form.js';

/** Of the answer to /jsz. */
const schema = z.object({
  server_id: z.string(),
  config: z.object({
    sync_interval: z.number().default(0),
    sync_always: z.boolean().default(false),
    max_storage: z.number().default(0),
  }),
  reserved_storage: z.number().default(0),
  meta_cluster: z.object({ cluster_size: z.number().int().default(1) }).optional(),
});

export interface MonitorOptions {
  /** http://host:port of each server's monitoring. */
  readonly monitors: readonly string[];
  /** File of the CA of https ones. */
  readonly ca?: string | undefined;
}

export interface MonitoredServer {
  readonly id: string;
  /** How many servers its cluster has. */
  readonly servers: number;
  readonly syncsAlways: boolean;
  readonly syncIntervalMs: number;
  /** `max_file_store`; 0 where it does not say. */
  readonly storeBytesMax: number;
  /** Of it, what its streams may take: the sum of their max_bytes. */
  readonly promisedBytes: number;
}

/** Asks all. In the order of the addresses: what each says, or why nothing is known, in one line. Never rejects. */
export async function askMonitors({ monitors, ca }: MonitorOptions): Promise<readonly (MonitoredServer | string)[]> {
  const answers = await Promise.allSettled(monitors.map((url) => ask(url, ca)));
  return answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : problemOf(answer.reason)));
}

async function ask(url: string, ca: string | undefined): Promise<MonitoredServer> {
  const text = await answeredText(request(new URL('/jsz', url), ca), NATS_MONITOR_ANSWER_BYTES_MAX);
  const { server_id: id, config, reserved_storage, meta_cluster: cluster } = schema.parse(JSON.parse(text));
  return {
    id,
    servers: cluster?.cluster_size ?? 1,
    syncsAlways: config.sync_always,
    syncIntervalMs: config.sync_interval / NATS_NS_PER_MS,
    storeBytesMax: config.max_storage,
    promisedBytes: reserved_storage,
  };
}

function request(url: URL, ca: string | undefined): ClientRequest {
  const signal = AbortSignal.timeout(NATS_MONITOR_ANSWER_MS);
  if (url.protocol === 'http:') return httpRequest(url, { agent: false, signal });
  return httpsRequest(url, { agent: false, signal, ...(ca === undefined ? {} : { ca: readFileSync(ca) }) });
}

function problemOf(cause: unknown): string {
  return cause instanceof z.ZodError || cause instanceof SyntaxError
    ? 'that is no monitoring of a nats-server with JetStream'
    : (cause as Error).message;
}
