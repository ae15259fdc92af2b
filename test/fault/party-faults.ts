/** Faults of any system: one function each, which does its worst to somebody who is free, and puts things right again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { BrokerParty, type Exit, type Party } from '../harness/cluster/party.js';
import { Subscriber } from '../harness/cluster/subscriber.js';
import type { System } from '../harness/cluster/system.js';
import type { Recorded } from '../harness/oracle/recorded.js';
import { settled } from '../harness/until.js';
import type { Random } from './schedule.js';

export interface FaultContext<S extends System = System> {
  readonly cluster: S;
  readonly random: Random;
  /** See Run. */
  readonly brief: boolean;
  /** What recorders held before somebody damaged them. */
  readonly recorded: Recorded;
  /** What may be lost since: every node's, or these. */
  readonly lossy: {
    log: boolean;
    readonly nodes: Set<string>;
    /** What the log lost of its end, by the boot clock: nodes send it again in other frames. */
    readonly ends: { readonly fromNs: number; readonly toNs: number }[];
  };
  /** Adds a line to the history that is printed when the run fails. */
  readonly note: (text: string) => void;
  /** Violations that a fault itself found. */
  readonly failures: string[];
}

export type Fault<S extends System = System> = (context: FaultContext<S>) => Promise<void>;

const INTERRUPTED = 130;
/** A younger process may not listen for signals yet, and SIGTERM would kill it. */
const LISTENS_MS = 10_000;

/** Runs with one of the candidates that no other fault has; does nothing when all are taken. */
export async function taking<P extends Pick<Party, 'busy'>>(
  { random, note }: Pick<FaultContext, 'random' | 'note'>,
  candidates: readonly P[],
  act: (party: P) => Promise<void>,
): Promise<void> {
  const free = candidates.filter((party) => !party.busy);
  if (free.length === 0) return note('  nobody is free for it');
  const party = random.pick(free);
  party.busy = true;
  try {
    await act(party);
  } finally {
    party.busy = false;
  }
}

export async function startAgain(party: Party): Promise<void> {
  party.start();
  if (party instanceof BrokerParty) await party.serving();
}

/** Adds to the history how the process ended, and a violation where it failed. */
async function ended({ failures }: FaultContext, party: Party, end: Promise<Exit>): Promise<Exit | undefined> {
  const exit = await settled(`the end of ${party.name}`, end, () => party.stderr).catch(() => undefined);
  if (exit === undefined) failures.push(`${party.name} did not end on its signal: ${party.stderr}`);
  return exit;
}

export const kill: Fault = (context) =>
  taking(context, context.cluster.parties, async (party) => {
    const downMs = context.random.between(0, 3_000);
    context.note(`kill -9 ${party.name}, down ${downMs} ms`);
    await party.end('SIGKILL');
    await sleep(downMs);
    await startAgain(party);
  });

export const freeze: Fault = (context) =>
  taking(context, context.cluster.parties, async (party) => {
    const ms = context.random.between(300, 12_000);
    context.note(`SIGSTOP ${party.name}, ${ms} ms`);
    party.signal('SIGSTOP');
    await sleep(ms);
    party.signal('SIGCONT');
  });

/** Streams end with a cursor, and everybody ends by itself. */
export const terminate: Fault = (context) =>
  taking(context, context.cluster.parties, async (party) => {
    context.note(`SIGTERM ${party.name}`);
    const exit = await ended(context, party, party.end('SIGTERM'));
    const expected = party instanceof Subscriber ? INTERRUPTED : 0;
    if (exit?.signal === 'SIGTERM' && performance.now() - party.startedMs < LISTENS_MS)
      context.note(`${party.name} had just been started`);
    // The relay takes a connection also while its broker is away, and closes it.
    else if (exit?.code === 1 && /: no (broker answers|secure connection)[^\n]*\n?$/.test(party.stderr))
      context.note(`${party.name} had given up`);
    else if (exit && exit.code !== expected)
      context.failures.push(`${party.name} ended with ${exit.signal ?? exit.code} on SIGTERM: ${party.stderr}`);
    await startAgain(party);
  });

export const terminateTwice: Fault = (context) => {
  const { cluster, random, note, failures } = context;
  return taking<Party>(context, [...cluster.brokers, ...cluster.agents], async (party) => {
    const betweenMs = random.between(0, 50);
    note(`SIGTERM ${party.name}, and again after ${betweenMs} ms`);
    const end = party.end('SIGTERM');
    await sleep(betweenMs);
    party.signal('SIGTERM');
    const exit = await ended(context, party, end);
    const code = exit?.signal === 'SIGTERM' && performance.now() - party.startedMs < LISTENS_MS ? 0 : exit?.code;
    if (exit && code !== 0 && code !== INTERRUPTED)
      failures.push(`${party.name} ended with ${exit.signal ?? exit.code} on a second SIGTERM: ${party.stderr}`);
    await startAgain(party);
  });
};

export const readerStalls: Fault = (context) =>
  taking(context, context.cluster.subscribers, async (subscriber) => {
    const ms = context.random.between(5_000, context.brief ? 10_000 : 20_000);
    context.note(`${subscriber.name} does not read for ${ms} ms`);
    subscriber.stall();
    await sleep(ms);
    subscriber.readOn();
  });

/** The parties that have a network between them and the broker. */
export const linked = ({ agents, subscribers }: System) => [...agents, ...subscribers];

export const halfOpen: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, relay }) => {
    context.note(`connections of ${name} are lost in silence`);
    relay.halfOpen();
  });

export const partition: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, relay }) => {
    const ms = context.random.between(500, 8_000);
    context.note(`${name} is cut off for ${ms} ms`);
    relay.partition();
    await sleep(ms);
    relay.heal();
  });

export const slowLink: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, relay }) => {
    const { random, note } = context;
    const quality = { delayMs: random.between(5, 300), bytesPerSecond: random.between(20, 500) * 1024 };
    const ms = random.between(2_000, 8_000);
    note(`${name} has ${quality.delayMs} ms of delay and ${quality.bytesPerSecond} bytes a second for ${ms} ms`);
    relay.quality = quality;
    await sleep(ms);
    relay.heal();
  });

/** The kernel loses packets; connections survive it. */
export const linkDown: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, namespace }) => {
    const ms = context.random.between(500, 12_000);
    context.note(`the link of ${name} is down for ${ms} ms`);
    namespace!.down();
    await sleep(ms);
    namespace!.up();
  });

/** The link of one of them carries little for a while. @param between kbit/s, least and most */
export function narrowed<P extends Pick<Party, 'busy' | 'name' | 'namespace'>>(
  context: Pick<FaultContext, 'random' | 'note'>,
  parties: readonly P[],
  [least, most]: readonly [number, number],
): Promise<void> {
  return taking(context, parties, async ({ name, namespace }) => {
    const kilobitsPerSecond = context.random.between(least, most);
    const ms = context.random.between(2_000, 8_000);
    context.note(`the link of ${name} carries ${kilobitsPerSecond} kbit/s for ${ms} ms`);
    namespace!.narrow(kilobitsPerSecond);
    await sleep(ms);
    namespace!.widen();
  });
}

export const narrowLink: Fault = (context) => narrowed(context, linked(context.cluster), [100, 2_000]);

export const clockStep: Fault = (context) =>
  taking(context, context.cluster.agents, async (agent) => {
    const ms = context.random.between(-3_600_000, 3_600_000);
    context.note(`the clock of ${agent.name} is set by ${ms} ms`);
    agent.stepClock(ms);
  });

/** A new boot, in order: positions begin anew in a later epoch, and nothing is missing. */
export const reboot: Fault = (context) =>
  taking(context, context.cluster.agents, async (agent) => {
    context.note(`the machine of ${agent.name} boots anew`);
    // An agent killed right after its start closes nothing, so nobody knows what the one before it left unstated.
    const begun = performance.now() - agent.startedMs > LISTENS_MS;
    const { signal } = await agent.end('SIGTERM');
    if (signal !== null || !begun) for (const node of agent.recorders.keys()) context.lossy.nodes.add(node);
    agent.reboot();
    agent.start();
  });

/** What can be done to the agents and subscribers of any system. */
export const PARTY_ACTS = {
  kill,
  freeze,
  terminate,
  'reader-stalls': readerStalls,
  'half-open': halfOpen,
  partition,
  'slow-link': slowLink,
  'link-down': linkDown,
  'narrow-link': narrowLink,
  'clock-step': clockStep,
  reboot,
} satisfies Readonly<Record<string, Fault>>;
export const PARTY_FAULTS = Object.keys(PARTY_ACTS) as readonly (keyof typeof PARTY_ACTS)[];
