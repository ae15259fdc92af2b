/** The options that an agent starts with, and the status that it shows. */
import type { Logger } from 'pino';
import type { SecurityFor } from '../access/secure-channel.js';
import type { CredentialFor } from '../access/token-lookup.js';
import type { GuardBounds } from './guard/overhead.js';
import type { Budget } from './publish/budget.js';
import type { CompiledRule } from './redaction/rule.js';
import type { RuntimePlace } from './source/containers/runtime-places.js';
import type { SourceOptions } from './source/open-source.js';
import type { JoinCredential } from './uplink/membership.js';

export interface AgentOptions {
  readonly nodeName: string;
  /** `key=value`, by which subscribers select nodes; none by default. */
  readonly labels?: readonly string[] | undefined;
  readonly dataDir: string;
  /** `host:port` or `host:port@zone`: see BrokerRing. */
  readonly brokers: readonly string[];
  /** This node's; brokers of it come first. */
  readonly zone?: string | undefined;
  /** The credential to present to each broker. */
  readonly credentialFor: CredentialFor;
  /** How to connect to each broker, unless the node joins; in the clear by default. */
  readonly securityFor?: SecurityFor | undefined;
  /** The node has a certificate of its broker, or gets one by what it is given. */
  readonly joins?: JoinCredential | undefined;
  readonly recorder: { readonly bytesMax: number; readonly ageMsMax: number };
  /** How long live events may gather before they are sent, and how short that may become when subscribers wish it. */
  readonly live: { readonly lingerMs: number; readonly lingerMsMin: number };
  /** The node's own budget, in force until the broker leases another. */
  readonly budget: Budget;
  /** Bounds on the CPU and memory that the agent may take. */
  readonly guard: GuardBounds;
  /** Frees what is no longer used, before the guard counts it. */
  readonly collectGarbage?: (() => void) | undefined;
  /** Which secrets are masked before they are recorded. */
  readonly redaction: readonly CompiledRule[];
  readonly source: SourceOptions;
  /** The container runtimes that are asked who containers are; none by default. */
  readonly containers?: readonly RuntimePlace[] | undefined;
  /**
   * The process that runs this agent beside a broker, and the host:port it listens on: like the agent's own, its events
   * are left out of matches unless asked for.
   */
  readonly parent?: { readonly pid: number; readonly listens: readonly string[] } | undefined;
  /** Called when a broker has this node and its interest is answered, and again when the broker is gone. */
  readonly onPresence?: ((present: boolean) => void) | undefined;
  readonly version: string;
  readonly log: Logger;
}

/** The status of a running agent, for people. */
export interface AgentStatus {
  readonly source: string;
  /** What this node cannot see, in a sentence. */
  readonly degraded: string | undefined;
  /** Trace events that are recorded, `group/event`. */
  readonly events: readonly string[];
  readonly recorderDir: string;
  readonly connected: boolean;
}
