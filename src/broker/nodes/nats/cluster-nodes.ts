/**
 * What the brokers of a cluster tell each other of their nodes: where each is (node-places.ts), and from which position its
 * frames in the log are complete for what it is asked.
 *
 * holds.NAME     -> { steps, not, broker, recorded, budget, clockNs }     by the broker that has the node; `recorded`: from when
 *                   it has what; `budget`: its own; `clockNs`: by how much its clock is ahead of that broker's
 *
 * A hold is worth something only while the node is asked for the predicate without a break. All brokers read claims, and this,
 * in one order: a step says what it says of predicates that have been asked for since a change of the claims, which its
 * writer had read; of one that nobody asked for meanwhile the claim is a later one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { BROKER_LEAVE_MS, HOLDS_LINGER_MS, STATE_AGAIN_MS } from '../../../limits.js';
import type { Budget } from '../../../wire/messages.js';
import type { SharedState, StateChange, StateValue } from '../../cluster/shared-state.js';
import { clocksDiffer } from '../../peer-clock.js';
import { HoldSteps, holdStepsSchema } from '../asked/holds.js';
import type { NodeRecord, Recorded } from '../node-record.js';
import type { NodeRegistry } from '../node-registry.js';
import type { BrokerLeases } from './broker-leases.js';
import type { ClusterInterest } from './cluster-interest.js';
import { ignoreChanged, type NodePlace, type NodePlaces } from './node-places.js';

const HOLDS = 'holds.';
const timestamp = z.object({
  seconds: z.string().regex(/^\d{1,12}$/),
  nanos: z.number().int().min(0).max(999_999_999),
});
const rate = z.string().regex(/^\d{1,20}$/);
const RATES = { liveBytesPerSecond: rate, liveEventsPerSecond: rate, historyBytesPerSecond: rate };
const schema = holdStepsSchema.extend({
  broker: z.string(),
  recorded: z.object({ from: timestamp, all: z.boolean() }).optional(),
  // Version 0.1 did not say these two.
  budget: z.object({ ...RATES, burstMs: z.number().int().nonnegative() }).optional(),
  clockNs: z
    .string()
    .regex(/^-?\d{1,19}$/)
    .optional(),
});

interface Said {
  readonly broker: string;
  readonly steps: HoldSteps;
  readonly recorded: Recorded | undefined;
  readonly budget: Budget | undefined;
  readonly clockNs: bigint | undefined;
}

interface Written {
  readonly session: string;
  /** Of the state: steps may name changes that it has lost since, which others do not believe, or whose numbers others get. */
  readonly epoch: number;
  readonly told: HoldSteps;
  /** What is held, as of when that was found to be enough. */
  steps: HoldSteps;
  /** Whether it was known from when the node has what. */
  readonly isRecorded: boolean;
  readonly text: string;
  readonly clockNs: bigint;
}

/** What the registry was told last of a node: it tells all who follow it. */
interface Learnt {
  readonly place: NodePlace;
  readonly alive: boolean;
  readonly said: Said | undefined;
}

export interface ClusterNodesOptions {
  readonly state: SharedState;
  readonly broker: string;
  readonly registry: NodeRegistry;
  readonly interest: ClusterInterest;
  readonly places: NodePlaces;
  readonly leases: BrokerLeases;
  readonly onFailure: (cause: unknown) => void;
}

/** Throws for what no broker writes. */
export function checkHolds(_key: string, value: unknown): void {
  schema.parse(value);
}

export class ClusterNodes {
  /** By node, as it was written last. */
  readonly #said = new Map<string, Said>();
  /** By node, what this broker wrote last in which session. */
  readonly #written = new Map<string, Written>();
  readonly #learnt = new Map<string, Learnt>();
  #starts = true;
  /** Nodes that may have to be written down; or all of them. */
  #due = new Set<string>();
  #allDue = false;
  /** Of the state, when all were looked at last. */
  #epoch = 0;
  #learning = false;
  #writing: Promise<void> | undefined;
  /** By node, what is on its way: a stream may take long for one, and the others do not wait for it. */
  readonly #puts = new Map<string, Promise<void>>();
  /** Nodes of which it failed, until the next try: a state that is full refuses at once. */
  readonly #failed = new Set<string>();
  #again: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();
  readonly #options: ClusterNodesOptions;
  readonly #ends: readonly (() => void)[];

  constructor(options: ClusterNodesOptions) {
    this.#options = options;
    const { state, registry, places, leases } = options;
    this.#ends = [
      state.watch(HOLDS, (change) => this.#heldChanged(change)),
      // After the interest itself has read it: it watches since before. What held may count from a later claim on only.
      state.watch('claim.', () => this.#write()),
      places.listen((node, place) => this.#moved(node, place)),
      leases.listen(() => this.#learnAll()),
      registry.listen((node) => {
        if (registry.session(node) !== undefined) {
          this.#learnt.delete(node);
          this.#write(node);
          return;
        }
        this.#written.delete(node);
        if (registry.record(node) === undefined) this.#dropped(node);
        else if (!this.#learning) {
          this.#learnt.delete(node);
          this.#learn(node);
        }
      }),
    ];
    this.#learnAll();
    this.#starts = false;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#again);
    for (const end of this.#ends) end();
    await this.#writing;
    // While NATS is away it may take longer than a broker has to end.
    await Promise.race([Promise.all(this.#puts.values()), sleep(BROKER_LEAVE_MS, undefined, { ref: false })]);
  }

  /** Has all brokers forget a node that none of them has. Rejects where that cannot be written. */
  async forget(node: string): Promise<void> {
    const { state, places, leases } = this.#options;
    const place = places.of(node);
    if (place !== undefined && place.session !== '' && leases.alive(place.broker)) return;
    // First, so that nothing is left of a node of which nobody knows where it is. Of one that connects now it is another.
    const held = state.get(HOLDS + node);
    if (held !== undefined) await state.delete(held.key, held.revision).catch(ignoreChanged);
    await places.forget(node);
  }

  #moved(node: string, place: NodePlace | undefined): void {
    if (place === undefined) this.#forgotten(node);
    else this.#learn(node);
    if (this.#options.registry.session(node) !== undefined) this.#write(node);
  }

  /** Somebody has forgotten it; or the state has, and then its broker writes it down again. */
  #forgotten(node: string): void {
    const { registry } = this.#options;
    this.#learnt.delete(node);
    const record = registry.record(node);
    if (record === undefined || registry.session(node) !== undefined) return;
    const { recorderId, bootId, epoch, isElsewhere } = record;
    // Who follows it learns first that it is gone.
    if (isElsewhere) registry.learn(node, { recorderId, bootId, epoch, session: '', holds: HoldSteps.NONE });
    registry.forget([node]);
  }

  /** This broker has dropped it, as it was gone for long: so do the others, if nobody else looks after it. */
  #dropped(node: string): void {
    const { places, leases, broker, onFailure } = this.#options;
    const place = places.of(node);
    if (place !== undefined && (place.broker === broker || !leases.alive(place.broker))) {
      this.forget(node).catch(onFailure);
    }
  }

  #heldChanged({ key, value, revision }: StateChange): void {
    const node = key.slice(HOLDS.length);
    const { registry, broker } = this.#options;
    const isHere = registry.session(node) !== undefined;
    // Of half of a cluster's nodes or more that is all that is read, and it is known.
    if (isHere && value?.broker === broker && textOf(value) === this.#written.get(node)?.text) {
      this.#said.delete(node);
      return;
    }
    if (value === undefined) this.#said.delete(node);
    else this.#said.set(node, saidIn(value, revision));
    this.#learn(node);
    // What this broker wrote of its own node is lost, was replaced, or is an earlier one again, as a power cut can do it.
    if (isHere && this.#written.delete(node)) this.#write(node);
  }

  #learnAll(): void {
    for (const [node] of this.#options.places.all()) this.#learn(node);
  }

  #learn(node: string): void {
    const { places, leases, registry, broker } = this.#options;
    const place = places.of(node);
    // What this broker said itself it needs only where it was started again.
    if (place === undefined || (place.broker === broker && !this.#starts)) return;
    const alive = leases.alive(place.broker) && place.broker !== broker;
    // What the broker before said of it, the one that has it now has not looked at yet.
    const last = this.#said.get(node);
    const said = last?.broker === place.broker ? last : undefined;
    const before = this.#learnt.get(node);
    const isKnown = before?.place === place && before.alive === alive && before.said === said;
    if (isKnown || registry.session(node) !== undefined) return;
    this.#learnt.set(node, { place, alive, said });
    const { recorderId, bootId, epoch } = place;
    const { steps: holds = HoldSteps.NONE, recorded, budget, clockNs } = said ?? {};
    const clockOffsetNs = clockNs === undefined ? undefined : () => clockNs + leases.clockOffsetNs(place.broker);
    const session = alive ? place.session : '';
    this.#learning = true;
    try {
      registry.learn(node, { recorderId, bootId, epoch, session, holds, recorded, budget, clockOffsetNs });
    } catch (cause) {
      // There are too many nodes.
      this.#options.onFailure(cause);
    } finally {
      this.#learning = false;
    }
  }

  /**
   * Soon, as answers of many nodes come together.
   * @param node undefined: all of them
   */
  #write(node?: string): void {
    if (node === undefined) this.#allDue = true;
    else this.#due.add(node);
    this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    while ((this.#allDue || this.#due.size > 0) && !this.#closing.signal.aborted) {
      await sleep(HOLDS_LINGER_MS);
      try {
        this.#writeOnce();
      } catch (cause) {
        // A defect with one node; the next change is looked at all the same.
        this.#options.onFailure(cause);
      }
    }
    // In the same step as the last look, or what comes between would wait for ever.
    this.#writing = undefined;
  }

  #writeOnce(): void {
    const { registry, state } = this.#options;
    const { epoch } = state;
    const isAll = this.#allDue || epoch !== this.#epoch;
    const due = this.#due;
    this.#allDue = false;
    this.#due = new Set();
    this.#epoch = epoch;
    const isDue = (name: string) =>
      (isAll || due.has(name)) && this.#isOurs(name) && !this.#puts.has(name) && !this.#failed.has(name);
    for (const node of registry.connected(isDue)) {
      const record = registry.record(node)!;
      if (this.#isWritten(node, record)) continue;
      const { clockOffsetNs: clockNs, recorded, budget } = record;
      const steps = this.#stepsOf(record);
      const value = { ...steps.toValue(), recorded, budget, clockNs: clockNs.toString() };
      const isRecorded = recorded !== undefined;
      const session = registry.session(node)!.id;
      const text = textOf(value);
      const put = this.#put(node, value, { session, epoch, told: steps, steps, isRecorded, text, clockNs });
      this.#puts.set(
        node,
        put.catch((cause) => this.#failedOf(node, cause)),
      );
    }
  }

  /**
   * Whether the node has its session here, and has begun none at another broker since. Of two that have one, for the while in
   * which a broken connection is not noticed, each would write in place of what the other wrote.
   */
  #isOurs(node: string): boolean {
    const { registry, places } = this.#options;
    const session = registry.session(node);
    const { session: placed = '' } = places.of(node) ?? {};
    return session !== undefined && (placed === '' || placed === session.id);
  }

  /** Where a predicate goes, what was told of the others stays as true as it was: not each node is written down again. */
  #isWritten(node: string, record: NodeRecord): boolean {
    const { interest, registry, state } = this.#options;
    const written = this.#written.get(node);
    if (written?.epoch !== state.epoch) return false;
    const isRecorded = record.recorded !== undefined;
    if (written.session !== registry.session(node)?.id || written.isRecorded !== isRecorded) return false;
    if (clocksDiffer(written.clockNs, record.clockOffsetNs)) return false;
    const steps = this.#stepsOf(record);
    if (written.steps === steps) return true;
    const isEnough =
      written.told.isEnoughFor(record.holds, interest.forNode(node)) ||
      textOf({ ...steps.toValue(), recorded: record.recorded }) === written.text;
    if (isEnough) written.steps = steps;
    return isEnough;
  }

  #stepsOf(record: NodeRecord): HoldSteps {
    return record.stepsOf(this.#options.interest.forNode(record.name));
  }

  async #put(node: string, value: StateValue, written: Written): Promise<void> {
    const { state, broker, registry } = this.#options;
    // It is read back before it is known to be made.
    this.#written.set(node, written);
    try {
      await state.put(HOLDS + node, { ...value, broker });
    } catch (cause) {
      if (this.#written.get(node) === written) this.#written.delete(node);
      throw cause;
    } finally {
      this.#puts.delete(node);
    }
    // It may have changed meanwhile.
    const record = registry.record(node);
    if (this.#isOurs(node) && record !== undefined && !this.#isWritten(node, record)) this.#write(node);
  }

  /** Many fail together: one of them is told. */
  #failedOf(node: string, cause: unknown): void {
    this.#failed.add(node);
    if (this.#again !== undefined || this.#closing.signal.aborted) return;
    this.#options.onFailure(cause);
    this.#again = setTimeout(() => {
      this.#again = undefined;
      this.#failed.clear();
      this.#write();
    }, STATE_AGAIN_MS).unref();
  }
}

function saidIn(value: StateValue, revision: number): Said {
  const { broker, recorded, budget, clockNs, ...steps } = schema.parse(value);
  const clock = clockNs === undefined ? undefined : BigInt(clockNs);
  return { broker, steps: HoldSteps.from(steps, revision), recorded, budget, clockNs: clock };
}

/** What tells whether it is what was written. */
function textOf({ steps, not, recorded }: StateValue): string {
  return JSON.stringify([steps, not, recorded !== undefined]);
}
