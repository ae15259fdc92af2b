/**
 * How many events a group still has to process: those that match, lie in the log and are not committed. What only
 * recorders have is not counted.
 */
import { Turns } from '../../flow/turns.js';
import { GROUP_LAG_ENTRIES_MAX } from '../../limits.js';
import type { Frame } from '../../wire/frame/frame.js';
import type { LogEntry, PartitionLog } from '../log/partition-log.js';
import { sliceOf } from './slice.js';

/** Events of frames that follow each other, up to an offset. */
interface Stretch {
  to: number;
  events: number;
  /** When the first of them came into the log. */
  readonly atMs: number;
}

class SliceLag {
  /** Of frames that were in the log before it was followed, and of later ones, in the order of their offsets. */
  readonly #stretches: { before: Stretch[]; later: Stretch[] } = { before: [], later: [] };

  get events(): number {
    let sum = 0;
    for (const { events } of [...this.#stretches.before, ...this.#stretches.later]) sum += events;
    return sum;
  }

  /** When the oldest of them came into the log, milliseconds since 1970; undefined for none. */
  get sinceMs(): number | undefined {
    const { before, later } = this.#stretches;
    return (before[0] ?? later[0])?.atMs;
  }

  add(when: 'before' | 'later', offset: number, events: number, atMs: number): void {
    const stretches = this.#stretches[when];
    stretches.push({ to: offset, events, atMs });
    if (stretches.length > GROUP_LAG_ENTRIES_MAX) this.#stretches[when] = merged(stretches);
  }

  /** Everything before the offset is committed. */
  committed(offset: number): void {
    for (const stretches of [this.#stretches.before, this.#stretches.later]) {
      const left = stretches.findIndex(({ to }) => to >= offset);
      stretches.splice(0, left < 0 ? stretches.length : left);
    }
  }

  reset(): void {
    this.#stretches.before = [];
    this.#stretches.later = [];
  }
}

function merged(stretches: readonly Stretch[]): Stretch[] {
  const half: Stretch[] = [];
  for (let at = 0; at < stretches.length; at += 2) {
    const [one, two] = [stretches[at]!, stretches[at + 1]];
    half.push({ to: two?.to ?? one.to, events: one.events + (two?.events ?? 0), atMs: one.atMs });
  }
  return half;
}

/** The lag of one group. */
export class GroupLag {
  readonly #slices: readonly SliceLag[];
  /** Whether a node is one of the group's, and the group begins before the end of a frame, wall nanoseconds of the node. */
  readonly #includes: (node: string, watermarkNs: bigint) => boolean;
  /** Bytes of frames with events for the group that came since its last member left. */
  unattendedBytes = 0;

  constructor(
    count: number,
    /** Of the filter in force. */
    public predicateId: bigint,
    includes: (node: string, watermarkNs: bigint) => boolean,
  ) {
    this.#includes = includes;
    this.#slices = Array.from({ length: count }, () => new SliceLag());
  }

  get events(): number {
    return this.#slices.reduce((sum, slice) => sum + slice.events, 0);
  }

  /** When the oldest of them came into the log, milliseconds since 1970; undefined where all is committed. */
  get sinceMs(): number | undefined {
    const since = this.#slices.flatMap(({ sinceMs }) => (sinceMs === undefined ? [] : [sinceMs]));
    return since.length === 0 ? undefined : Math.min(...since);
  }

  of(slice: number): { readonly events: number; readonly sinceMs: number | undefined } {
    return this.#slices[slice]!;
  }

  /** `when`: whether the frame was in the log before it was followed. */
  frame(when: 'before' | 'later', { node, frame, offset, bytes, appendedMs }: LogEntry): void {
    const events = matchesIn(frame, this.predicateId);
    if (events === 0 || !this.#includes(node, frame.watermarkNs)) return;
    this.#slices[sliceOf(node, this.#slices.length)]!.add(when, offset, events, appendedMs);
    if (when === 'later') this.unattendedBytes += bytes;
  }

  /** Counts a frame that was in the log already. `froms`: by slice, the offset before which all is committed. */
  logged(entry: LogEntry, froms: readonly number[]): void {
    if (entry.offset >= froms[sliceOf(entry.node, this.#slices.length)]!) this.frame('before', entry);
  }

  committed(slice: number, offset: number): void {
    this.#slices[slice]?.committed(offset);
  }

  reset(): void {
    for (const slice of this.#slices) slice.reset();
  }
}

function matchesIn({ matches, count }: Frame, predicateId: bigint): number {
  const match = matches.find((each) => each.predicateId === predicateId);
  return match === undefined ? 0 : match.all ? count : match.indices.length;
}

/**
 * Counts frames that are in the logs already, for as long as `goesOn` says so. Others have their turns meanwhile.
 * @param froms by slice, the offset before which all is committed
 */
export async function countLogged(
  lag: GroupLag,
  stretches: readonly { readonly log: PartitionLog; readonly from: number; readonly to: number }[],
  froms: readonly number[],
  topics: ReadonlySet<string>,
  goesOn: () => boolean,
): Promise<void> {
  const turns = new Turns();
  for (const { log, from, to } of stretches) {
    if (from >= to) continue;
    const reader = log.reader(from, topics);
    try {
      for (let item = await reader.next(); item !== undefined && goesOn(); item = await reader.next()) {
        if (item.kind === 'frame' && item.offset >= to) break;
        if (item.kind === 'frame') lag.logged(item, froms);
        if (turns.over) await turns.give();
      }
    } finally {
      reader.close();
    }
  }
}

/** Feeds the groups' lags from the logs, which are followed while there is any group. */
export class LagFeed {
  #ends: (() => void)[] | undefined;
  readonly #logs: readonly PartitionLog[];
  readonly #lags: () => Iterable<GroupLag>;

  constructor(logs: readonly PartitionLog[], lags: () => Iterable<GroupLag>) {
    this.#logs = logs;
    this.#lags = lags;
  }

  /** Call it before there is a group. */
  begin(): void {
    this.#ends ??= this.#logs.map((log) =>
      log.follow((entry) => {
        for (const lag of this.#lags()) lag.frame('later', entry);
      }),
    );
  }

  /** There is no group any more. */
  end(): void {
    for (const end of this.#ends ?? []) end();
    this.#ends = undefined;
  }
}
