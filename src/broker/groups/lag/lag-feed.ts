/** Feeds the lags of groups: with what is in the logs already, and with what comes. */
import { Turns } from '../../../flow/turns.js';
import type { DocumentLog } from '../../log/documents/document-log.js';
import type { PartitionLog } from '../../log/partition-log.js';
import type { GroupLag } from './group-lag.js';

/** What of a log is to be counted. */
interface Uncounted<Log> {
  readonly log: Log;
  readonly from: number;
  readonly to: number;
}

/** Others have their turns while there is much to count. */
class Counting {
  readonly #turns = new Turns();
  /** Whether to go on. */
  readonly #goesOn: () => boolean;

  constructor(goesOn: () => boolean) {
    this.#goesOn = goesOn;
  }

  async each<Item>(
    reader: { next(): Promise<Item | undefined>; close(): void },
    take: (item: Item) => boolean,
  ): Promise<void> {
    try {
      for (let item = await reader.next(); item !== undefined && this.#goesOn(); item = await reader.next()) {
        if (!take(item)) break;
        if (this.#turns.over) await this.#turns.give();
      }
    } finally {
      reader.close();
    }
  }
}

/**
 * Counts frames that are in the logs already, for as long as `goesOn` says so.
 * @param froms by slice, the offset before which all is committed
 */
export async function countLogged(
  lag: GroupLag,
  stretches: readonly Uncounted<PartitionLog>[],
  froms: readonly number[],
  topics: ReadonlySet<string>,
  goesOn: () => boolean,
): Promise<void> {
  const counting = new Counting(goesOn);
  for (const { log, from, to } of stretches) {
    if (from >= to) continue;
    await counting.each(log.reader(from, topics), (item) => {
      if (item.kind === 'frame' && item.offset >= to) return false;
      if (item.kind === 'frame') lag.frame('before', item, froms);
      return true;
    });
  }
}

/** Likewise documents. @param topics see DocumentLog.reader */
export async function countStored(
  lag: GroupLag,
  { log, from, to }: Uncounted<DocumentLog>,
  froms: readonly number[],
  topics: readonly string[] | undefined,
  goesOn: () => boolean,
): Promise<void> {
  if (from >= to) return;
  const reader = log.reader(from, topics);
  const below = { next: () => reader.next(to), close: () => reader.close() };
  await new Counting(goesOn).each(below, (item) => {
    if (item.kind === 'batch') lag.batch('before', log.name, item.batch, froms);
    return true;
  });
}

/** Feeds the groups' lags from the logs, which are followed while there is any group. */
export class LagFeed {
  #ends: (() => void)[] | undefined;
  readonly #logs: readonly PartitionLog[];
  readonly #documents: readonly DocumentLog[];
  readonly #lags: () => Iterable<GroupLag>;

  constructor(logs: readonly PartitionLog[], documents: readonly DocumentLog[], lags: () => Iterable<GroupLag>) {
    this.#logs = logs;
    this.#documents = documents;
    this.#lags = lags;
  }

  /** Call it before there is a group. */
  begin(): void {
    if (this.#ends !== undefined) return;
    const frames = this.#logs.map((log) =>
      log.follow((entry) => {
        for (const lag of this.#lags()) lag.frame('later', entry);
      }),
    );
    const batches = this.#documents.map((log) =>
      log.follow({
        stored: (batch) => {
          for (const lag of this.#lags()) lag.batch('later', log.name, batch);
        },
        rewound: (offset) => {
          for (const lag of this.#lags()) lag.rewound(log.name, offset);
        },
      }),
    );
    this.#ends = [...frames, ...batches];
  }

  /** There is no group any more. */
  end(): void {
    for (const end of this.#ends ?? []) end();
    this.#ends = undefined;
  }
}
