/** A member of a group: it outlives its stream where it has a name. */
import { randomUUID } from 'node:crypto';
import type { MemberStream } from './member-stream.js';

export class Member {
  readonly id: string;
  readonly joinedMs = Date.now();
  /** It let events uncommitted for too long, and has not committed since: others get slices before it. */
  isSlow = false;
  /** Undefined while a named member has no connection. */
  stream: MemberStream | undefined;
  #awayTimer: NodeJS.Timeout | undefined;

  /** `name` is empty for a member without one. */
  constructor(
    readonly name: string,
    stream: MemberStream,
  ) {
    this.id = name === '' ? randomUUID() : name;
    this.stream = stream;
  }

  /** Whether it can be given anything. */
  get isPresent(): boolean {
    return this.stream !== undefined && !this.stream.isOver;
  }

  /** The member has a connection again. */
  returned(stream: MemberStream): void {
    clearTimeout(this.#awayTimer);
    this.stream = stream;
    this.isSlow = false;
  }

  /** The connection ended; `onTimeout` is called unless it returns in time. */
  wentAway(timeoutMs: number, onTimeout: () => void): void {
    this.stream = undefined;
    this.#awayTimer = setTimeout(onTimeout, timeoutMs).unref();
  }

  /** It is no member any more. */
  close(): void {
    clearTimeout(this.#awayTimer);
    this.stream = undefined;
  }
}
