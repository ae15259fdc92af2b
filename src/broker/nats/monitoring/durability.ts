/**
 * Whether a power cut may lose what the servers of NATS have acknowledged: by default they write to their disks every two
 * minutes, and at once only with `sync_interval: always`. Frames come again from the recorders; what no recorder can send
 * again does not. Only the servers' monitoring says which holds, and each server only its own.
 */
import { NATS_MONITOR_LOOK_MS } from '../../../limits.js';
import { durationMsText } from '../../../text/time-text.js';
import { askMonitors, type MonitoredServer, type MonitorOptions } from './server-monitor.js';

const LOSES = 'a power cut may lose these (commits, audit, budgets, app events)';

export class DurabilityWatch {
  /** `always`, or that a power cut may lose something. */
  summary = `unknown: ${LOSES}`;
  /** Why no more is known: it has addresses of servers. */
  #reason: string | undefined;
  readonly #options: MonitorOptions;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(options: MonitorOptions, everyMs = NATS_MONITOR_LOOK_MS) {
    this.#options = options;
    if (options.monitors.length === 0) return;
    this.#timer = setInterval(() => void this.look(), everyMs).unref();
    void this.look();
  }

  /** The summary, and why no more is known. */
  get text(): string {
    return textOf(this.summary, this.#reason);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Asks all servers. Resolves in any case. */
  async look(): Promise<void> {
    const { monitors } = this.#options;
    if (monitors.length === 0) return;
    [this.summary, this.#reason] = summaryOf(monitors, await askMonitors(this.#options));
  }
}

/** What the servers' monitoring says, as a broker tells it. @param answers see askMonitors */
export function durabilityText(monitors: readonly string[], answers: readonly (MonitoredServer | string)[]): string {
  if (monitors.length === 0) return `unknown: ${LOSES}`;
  return textOf(...summaryOf(monitors, answers));
}

function textOf(summary: string, reason: string | undefined): string {
  return reason === undefined ? summary : `${summary}; ${reason}`;
}

/** What is known, and why no more is. */
function summaryOf(
  monitors: readonly string[],
  told: readonly (MonitoredServer | string)[],
): readonly [summary: string, reason: string | undefined] {
  const answers = told.map((answer, at) => (typeof answer === 'string' ? `${monitors[at]}: ${answer}` : answer));
  const read = answers.filter((answer) => typeof answer !== 'string');
  const late = read.find(({ syncsAlways }) => !syncsAlways);
  if (late !== undefined) return [`every ${durationMsText(late.syncIntervalMs)}: ${LOSES}`, undefined];
  const failed = answers.find((answer) => typeof answer === 'string');
  const known = new Set(read.map(({ id }) => id)).size;
  const servers = Math.max(1, ...read.map(({ servers }) => servers));
  if (failed === undefined && known >= servers) return ['always', undefined];
  return [`unknown: ${LOSES}`, failed ?? `nats.monitor names ${known} of ${servers} servers`];
}
