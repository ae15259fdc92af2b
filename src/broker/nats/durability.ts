/**
 * Whether a power cut may lose what the servers of NATS have acknowledged: by default they write to their disks every two
 * minutes, and at once only with `sync_interval: always`. Frames come again from the recorders; what no recorder can send
 * again does not. Only the servers' monitoring says which holds, and each server only its own.
 */
import { readFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import * as z from 'zod';
import { NATS_MONITOR_ANSWER_BYTES_MAX, NATS_MONITOR_ANSWER_MS, NATS_MONITOR_LOOK_MS } from '../../limits.js';
import { answeredText } from '../../text/answered-text.js';
import { durationMsText } from '../../text/time-text.js';
import { NATS_NS_PER_MS } from './stream-form.js';

const LOSES = 'a power cut may lose these (commits, audit, budgets, app events)';

/** Of the answer to /jsz. */
const schema = z.object({
  server_id: z.string(),
  config: z.object({ sync_interval: z.number().default(0), sync_always: z.boolean().default(false) }),
  meta_cluster: z.object({ cluster_size: z.number().int().default(1) }).optional(),
});

interface Read {
  readonly server: string;
  readonly servers: number;
  readonly always: boolean;
  readonly intervalMs: number;
}

export interface DurabilityOptions {
  /** http://host:port of each server's monitoring. */
  readonly monitors: readonly string[];
  /** File of the CA of https ones. */
  readonly ca?: string | undefined;
}

export class DurabilityWatch {
  /** `always`, or that a power cut may lose something. */
  summary = `unknown: ${LOSES}`;
  /** Why no more is known: it has addresses of servers. */
  #reason: string | undefined;
  readonly #options: DurabilityOptions;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(options: DurabilityOptions, everyMs = NATS_MONITOR_LOOK_MS) {
    this.#options = options;
    if (options.monitors.length === 0) return;
    this.#timer = setInterval(() => void this.look(), everyMs).unref();
    void this.look();
  }

  /** The summary, and why no more is known. */
  get text(): string {
    return this.#reason === undefined ? this.summary : `${this.summary}; ${this.#reason}`;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Asks all servers. Resolves in any case. */
  async look(): Promise<void> {
    if (this.#options.monitors.length === 0) return;
    const answers = await Promise.allSettled(this.#options.monitors.map((url) => this.#read(url)));
    const told = answers.map((answer, at) =>
      answer.status === 'fulfilled' ? answer.value : `${this.#options.monitors[at]}: ${problemOf(answer.reason)}`,
    );
    [this.summary, this.#reason] = summaryOf(told);
  }

  async #read(url: string): Promise<Read> {
    const text = await answeredText(this.#asked(new URL('/jsz', url)), NATS_MONITOR_ANSWER_BYTES_MAX);
    const { server_id: server, config, meta_cluster: cluster } = schema.parse(JSON.parse(text));
    const intervalMs = config.sync_interval / NATS_NS_PER_MS;
    return { server, servers: cluster?.cluster_size ?? 1, always: config.sync_always, intervalMs };
  }

  #asked(url: URL): ClientRequest {
    const signal = AbortSignal.timeout(NATS_MONITOR_ANSWER_MS);
    if (url.protocol === 'http:') return httpRequest(url, { agent: false, signal });
    const { ca } = this.#options;
    return httpsRequest(url, { agent: false, signal, ...(ca === undefined ? {} : { ca: readFileSync(ca) }) });
  }
}

/** In one line. */
function problemOf(cause: unknown): string {
  return cause instanceof z.ZodError || cause instanceof SyntaxError
    ? 'that is no monitoring of a nats-server with JetStream'
    : (cause as Error).message;
}

/**
 * What is known, and why no more is.
 * @param answers of each address what was read, or why nothing was
 */
function summaryOf(answers: readonly (Read | string)[]): readonly [summary: string, reason: string | undefined] {
  const read = answers.filter((answer) => typeof answer !== 'string');
  const late = read.find(({ always }) => !always);
  if (late !== undefined) return [`every ${durationMsText(late.intervalMs)}: ${LOSES}`, undefined];
  const failed = answers.find((answer) => typeof answer === 'string');
  const known = new Set(read.map(({ server }) => server)).size;
  const servers = Math.max(1, ...read.map(({ servers }) => servers));
  if (failed === undefined && known >= servers) return ['always', undefined];
  return [`unknown: ${LOSES}`, failed ?? `nats.monitor names ${known} of ${servers} servers`];
}
