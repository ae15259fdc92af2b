/**
 * Keeps the losses that go on at a timeline's frontier: readers and subscribers
 * that begin there must be told of them.
 */
import { topicOf } from '../../wire/event/event.js';
import type { StatedLoss } from '../../wire/frame/loss.js';
import { comparePositions, type Position } from '../../wire/position.js';
import type { RecordedLoss } from '../recorder/recording.js';

/** A loss as a timeline tells it; without `stated`, the kernel's buffer ran over. */
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

  /** Takes a loss that begins, goes on or is over. */
  follow(loss: RecordedLoss): void {
    const others = this.#losses.filter(
      ({ reason, from }) => reason !== loss.reason || comparePositions(from, loss.from) !== 0,
    );
    // Who says later that it is over knows no more of what had been taken when it began.
    this.#losses = loss.goesOn ? [...others, { ...loss, entriesTaken: undefined }] : others;
  }

  /** For a checkpoint. */
  save(): { readonly losses?: readonly RecordedLoss[] } {
    return this.#losses.length === 0 ? {} : { losses: this.#losses };
  }

  load(losses: readonly RecordedLoss[] | undefined): void {
    this.#losses = losses ?? [];
  }
}

/** Whether a loss may include events of a topic. */
export function mayBeOf({ stated }: Told, topic: string): boolean {
  return stated?.types?.some((type) => topicOf(type) === topic) ?? true;
}

/** A loss as frames state it, at a position; undefined when the kernel's buffer ran over. */
export function statedLoss({ count, unknown, stated }: Told, position: Position): StatedLoss | undefined {
  if (!stated) return undefined;
  const { reason, from, goesOn, message } = stated;
  return { reason, events: count, unknown, from, to: goesOn ? undefined : position, message };
}
