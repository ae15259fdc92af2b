/** What an agent is told, and what it tells of itself. */
import type { Logger } from 'pino';
import type { CredentialFor } from '../access/token-lookup.js';
import type { GuardBounds } from './guard/overhead-guard.js';
import type { Budget } from './publish/budget.js';
import type { CompiledRule } from './redaction/rule.js';
import type { SourceOptions } from './source/open-source.js';

export interface AgentOptions {
  readonly nodeName: string;
  readonly dataDir: string;
  /** host:port, tried in turn. */
  readonly brokers: readonly string[];
  /** What to show each of them. */
  readonly credentialFor: CredentialFor;
  readonly recorder: { readonly bytesMax: number; readonly ageMsMax: number };
  /** What may be sent, until the broker says otherwise. */
  readonly budget: Budget;
  /** What it may take of the machine. */
  readonly guard: GuardBounds;
  /** Which secrets are masked before they are recorded. */
  readonly redaction: readonly CompiledRule[];
  readonly source: SourceOptions;
  /**
   * The process that runs this agent beside a broker, and the host:port it listens on: like the agent's own, its events
   * are left out of matches unless asked for.
   */
  readonly parent?: { readonly pid: number; readonly listens: readonly string[] } | undefined;
  /** Told when a broker has this node, its interest answered, and when it has it no longer. */
  readonly onPresence?: ((present: boolean) => void) | undefined;
  readonly version: string;
  readonly log: Logger;
}

/** What a person should know about a running agent. */
export interface AgentStatus {
  readonly source: string;
  /** What this node cannot see, in a sentence. */
  readonly degraded: string | undefined;
  /** Trace events that are recorded, `group/event`. */
  readonly events: readonly string[];
  readonly recorderDir: string;
  readonly connected: boolean;
}
