/** One subscriber that goes and comes back, over whichever broker. */
import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import type { SubscribeRequest } from '../../../src/wire/messages.js';
import type { Harness, Subscriber } from '../broker/harness.js';

/** What one subscriber was given, over all its streams. */
export class Chain {
  readonly #request: SubscribeRequest;
  readonly #had: string[] = [];
  follows = false;
  #cursor = '';
  #stream: Subscriber | undefined;

  constructor(request: SubscribeRequest) {
    this.#request = request;
  }

  get goes(): boolean {
    return this.#stream !== undefined;
  }

  get hasPast(): boolean {
    return this.#request.since !== undefined;
  }

  get mayReplay(): boolean {
    return this.hasPast || this.#request.last !== undefined;
  }

  get topics(): readonly string[] {
    return this.#request.topics!;
  }

  matches(pid: number): boolean {
    return this.#request.filter === '' || pid % 3 === 0;
  }

  get had(): readonly string[] {
    return [...this.#had, ...(this.#stream?.events ?? [])];
  }

  get error(): string | undefined {
    return this.#stream?.error?.message;
  }

  get gaps() {
    return this.#stream?.gaps ?? [];
  }

  /** Whether its broker asked it to come again, or has gone. */
  get isAway(): boolean {
    return this.#stream?.error?.code === status.UNAVAILABLE;
  }

  /** Where it only replays what there is, the next stream goes on behind that. */
  begin(harness: Harness, follow: boolean): void {
    const from = this.#cursor === '' ? {} : { since: '', last: 0, cursor: this.#cursor };
    this.follows = follow;
    this.#stream = harness.subscribe({ ...this.#request, ...from, follow });
  }

  /** What came before there was a cursor comes again. */
  cut(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#stream = undefined;
    stream.cancel();
    assert.deepEqual(stream.gaps, []);
    if (stream.cursor === '') return;
    this.#had.push(...stream.events);
    this.#cursor = stream.cursor;
  }

  /** False: it is to begin again. */
  async isAccepted(): Promise<boolean> {
    try {
      await this.#stream?.isAccepted();
      return true;
    } catch (cause) {
      if (this.isAway) return false;
      throw cause;
    }
  }

  pause(isPaused: boolean): void {
    if (isPaused) this.#stream?.pause();
    else this.#stream?.resume();
  }
}
