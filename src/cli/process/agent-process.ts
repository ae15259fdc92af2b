/**
 * The agent as a child process of `up`: started again when it dies, with a
 * growing pause; stopped by SIGTERM, and killed when that does not help.
 *
 *   starting -> running -> (died -> waiting -> starting)* -> stopped
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Logger } from 'pino';
import { AGENT_RESTART_MS_MAX, AGENT_RESTART_MS_MIN, AGENT_STOP_MS } from '../../limits.js';
import { builtFile } from '../../package-files.js';

/** What an agent tells its parent over the IPC channel. */
export type AgentMessage =
  | {
      readonly kind: 'started';
      readonly source: string;
      /** What the node cannot see, in a sentence. */
      readonly degraded: string | undefined;
      readonly events: readonly string[];
    }
  | { readonly kind: 'failed'; readonly message: string }
  /** The broker has the node, or all of several, and its interest is answered; or no longer. */
  | { readonly kind: 'present' | 'absent' };

export interface AgentProcessOptions {
  /** Settings, as environment variables. */
  readonly environment: Readonly<Record<string, string>>;
  readonly log: Logger;
  readonly onMessage: (message: AgentMessage) => void;
  /** It ended by itself, and is started again. */
  readonly onEnd: () => void;
}

export class AgentProcess {
  readonly #options: AgentProcessOptions;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #restartMs = AGENT_RESTART_MS_MIN;
  #startedMs = 0;
  #stopping: Promise<void> | undefined;

  constructor(options: AgentProcessOptions) {
    this.#options = options;
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the agent has ended. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  /** At once, for an end that waits for nothing. */
  kill(): void {
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
  }

  #start(): void {
    const child = spawn(process.execPath, [builtFile('program/main.js'), 'agent'], {
      env: { ...foreignEnvironment(), ...this.#options.environment },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // A group of its own: Ctrl-C reaches `up` only, which then stops the agent in order, once.
      detached: true,
    });
    this.#child = child;
    this.#startedMs = performance.now();
    child.on('message', (message) => this.#hear(message));
    child.on('error', (cause) => this.#options.log.error(`agent cannot be started: ${cause.message}`));
    child.on('close', (code, signal) => this.#died(code, signal));
  }

  #hear(message: unknown): void {
    if (typeof message !== 'object' || message === null || !('kind' in message)) return;
    this.#options.onMessage(message as AgentMessage);
  }

  #died(code: number | null, signal: NodeJS.Signals | null): void {
    this.#child = undefined;
    if (this.#stopping !== undefined) return;
    this.#options.onEnd();
    // One that ran for long does not pay for those that died before it.
    if (performance.now() - this.#startedMs > AGENT_RESTART_MS_MAX) this.#restartMs = AGENT_RESTART_MS_MIN;
    const waitMs = this.#restartMs;
    this.#restartMs = Math.min(waitMs * 2, AGENT_RESTART_MS_MAX);
    this.#options.log.error(
      { code, signal, waitMs },
      `agent ended (${signal ?? `exit code ${code}`}): starting it again`,
    );
    this.#restart = setTimeout(() => this.#start(), waitMs);
  }

  async #end(): Promise<void> {
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined) return;
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.kill('SIGTERM');
    const timer = setTimeout(() => {
      this.#options.log.error(`agent did not end within ${AGENT_STOP_MS} ms: killing it`);
      child.kill('SIGKILL');
    }, AGENT_STOP_MS);
    await closed;
    clearTimeout(timer);
  }
}

/** Without Backplane's own variables, whose meaning the child is given, and of which it would warn once more. */
function foreignEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKPLANE_')));
}
