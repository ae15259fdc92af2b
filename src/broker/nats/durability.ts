/**
 * Whether a power cut may lose what the servers of NATS have acknowledged: by default they write to their disks every two
 * minutes, and at once only with `sync_interval: always`. Frames come again from the recorders; what no recorder can send
 * again does not. Only the servers' monitoring says which holds, and each server only its own.
 */
import { readFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import * as z from 'zod';
import { answeredText } from '../../answered-text.js';
import { NATS_MONITOR_ANSWER_BYTES_MAX, NATS_MONITOR_ANSWER_MS, NATS_MONITOR_LOOK_MS } from '../../limits.js';
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
  /** `always`, or what is known and that a power cut may lose something. */
  text = `unknown: ${LOSES}`;
  readonly #options: DurabilityOptions;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(options: DurabilityOptions, everyMs = NATS_MONITOR_LOOK_MS) {
    this.#options = options;
    if (options.monitors.length === 0) return;
    this.#timer = setInterval(() => void this.look(), everyMs).unref();
    void this.look();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Asks all servers. Resolves in any case. */
  async look(): Promise<void> {
    if (this.#options.monitors.length === 0) return;
    const answers = await Promise.allSettled(this.#options.monitors.map((url) => this.#read(url)));
    this.text = textOf(
      answers.map((answer, at) =>
        answer.status === 'fulfilled' ? answer.value : `${this.#options.monitors[at]}: ${answer.reason?.message}`,
      ),
    );
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

/** @param answers of each address what was read, or why nothing was */
function textOf(answers: readonly (Read | string)[]): string {
  const read = answers.filter((answer) => typeof answer !== 'string');
  const late = read.find(({ always }) => !always);
  if (late !== undefined) return `every ${durationMsText(late.intervalMs)}: ${LOSES}`;
  const failed = answers.find((answer) => typeof answer === 'string');
  const known = new Set(read.map(({ server }) => server)).size;
  const servers = Math.max(1, ...read.map(({ servers }) => servers));
  if (failed === undefined && known >= servers) return 'always';
  return `unknown: ${LOSES}; ${failed ?? `nats.monitor names ${known} of ${servers} servers`}`;
}
