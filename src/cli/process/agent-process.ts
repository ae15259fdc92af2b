/**
 * The agent as a child process of `up`: started again when it dies, with a
 * growing pause; stopped by SIGTERM, and killed when that does not help.
 *
 *   loading -> running -> (died -> waiting -> starting -> running)* -> stopped
 *
 * The first process is started before anybody knows what it will be told, and loads its code meanwhile.
 */
import type { ChildProcess } from 'node:child_process';
import type { Logger } from 'pino';
import { AGENT_RESTART_MS_MAX, AGENT_RESTART_MS_MIN, AGENT_STOP_MS } from '../../limits.js';
import { spawnAgent } from './agent-spawn.js';

/** Messages that an agent sends to its parent over the IPC channel. */
export type AgentMessage =
  | {
      readonly kind: 'started';
      readonly source: string;
      /** A sentence that says what the node cannot see. */
      readonly degraded: string | undefined;
      readonly events: readonly string[];
    }
  | { readonly kind: 'failed'; readonly message: string }
  /** The broker has the node (or all of several) and has its answer to the interest; 'absent': it no longer has. */
  | { readonly kind: 'present' | 'absent' };

/** The one message that an agent gets from its parent. */
export interface AgentBegin {
  /** Settings, as environment variables. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface AgentProcessOptions extends AgentBegin {
  readonly onMessage: (message: AgentMessage) => void;
  /** Called when the agent ended by itself; it is then started again. */
  readonly onEnd: () => void;
}

export class AgentProcess {
  readonly #log: Logger;
  /** Undefined before begin(). */
  #options: AgentProcessOptions | undefined;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #restartMs = AGENT_RESTART_MS_MIN;
  #startedMs = 0;
  #stopping: Promise<void> | undefined;

  /** `waiting`: one that was started already; it records nothing before begin(). */
  constructor(log: Logger, waiting = spawnAgent()) {
    this.#log = log;
    if (waiting.pid !== undefined && waiting.exitCode === null) this.#watch(waiting);
  }

  /** Call it once. */
  begin(options: AgentProcessOptions): void {
    this.#options = options;
    const { environment } = options;
    const message: AgentBegin = { environment };
    if (this.#child?.connected) this.#child.send(message, () => {});
    else this.#start(environment);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the agent has ended. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  /** Kills the agent at once, for an exit that waits for nothing. */
  kill(): void {
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
  }

  #start(environment: Readonly<Record<string, string>>): void {
    this.#watch(spawnAgent(environment));
  }

  #watch(child: ChildProcess): void {
    this.#child = child;
    this.#startedMs = performance.now();
    child.on('message', (message) => this.#hear(message));
    child.on('error', (cause) => this.#log.error(`agent cannot be started: ${cause.message}`));
    child.on('close', (code, signal) => this.#died(code, signal));
  }

  #hear(message: unknown): void {
    if (typeof message !== 'object' || message === null || !('kind' in message)) return;
    this.#options?.onMessage(message as AgentMessage);
  }

  #died(code: number | null, signal: NodeJS.Signals | null): void {
    this.#child = undefined;
    const options = this.#options;
    // What ended before it began is started when it is to begin.
    if (this.#stopping !== undefined || options === undefined) return;
    options.onEnd();
    // An agent that ran for long restarts quickly, whatever happened before it.
    if (performance.now() - this.#startedMs > AGENT_RESTART_MS_MAX) this.#restartMs = AGENT_RESTART_MS_MIN;
    const waitMs = this.#restartMs;
    this.#restartMs = Math.min(waitMs * 2, AGENT_RESTART_MS_MAX);
    this.#log.error({ code, signal, waitMs }, `agent ended (${signal ?? `exit code ${code}`}): starting it again`);
    this.#restart = setTimeout(() => this.#start(options.environment), waitMs);
  }

  async #end(): Promise<void> {
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined) return;
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.kill('SIGTERM');
    const timer = setTimeout(() => {
      this.#log.error(`agent did not end within ${AGENT_STOP_MS} ms: killing it`);
      child.kill('SIGKILL');
    }, AGENT_STOP_MS);
    await closed;
    clearTimeout(timer);
  }
}
