/** The losses that go on at a timeline's frontier: whoever begins to read or to ask there must be told of them. */
import { topicOf } from '../../wire/event/event.js';
import type { StatedLoss } from '../../wire/frame/loss.js';
import { comparePositions, type Position } from '../../wire/position.js';
import type { RecordedLoss } from '../recorder/recording.js';

/** What a timeline tells of one; without `stated` it is the kernel's buffer that ran over. */
interface Told {
  readonly count: number;
  readonly unknown: boolean;
  readonly stated?: RecordedLoss | undefined;
}

export class OpenLosses {
  #losses: readonly RecordedLoss[] = [];

  get all(): readonly (Told & { readonly stated: RecordedLoss })[] {
    return this.#losses.map((stated) => ({ count: 0, unknown: true, stated }));
  }

  /** It begins, goes on or is over. */
  follow(loss: RecordedLoss): void {
    const others = this.#losses.filter(
      ({ reason, from }) => reason !== loss.reason || comparePositions(from, loss.from) !== 0,
    );
    this.#losses = loss.goesOn ? [...others, loss] : others;
  }

  /** For a checkpoint. */
  save(): { readonly losses?: readonly RecordedLoss[] } {
    return this.#losses.length === 0 ? {} : { losses: this.#losses };
  }

  load(losses: readonly RecordedLoss[] | undefined): void {
    this.#losses = losses ?? [];
  }
}

/** Whether events of a topic may be among it. */
export function mayBeOf({ stated }: Told, topic: string): boolean {
  return stated?.types?.some((type) => topicOf(type) === topic) ?? true;
}

/** As it is told, at a position. Undefined: it is the kernel's buffer that ran over. */
export function statedLoss({ count, unknown, stated }: Told, position: Position): StatedLoss | undefined {
  if (!stated) return undefined;
  const { reason, from, goesOn, message } = stated;
  return { reason, events: count, unknown, from, to: goesOn ? undefined : position, message };
}
