/** A member of a group: it outlives its stream where it has a name. */
import { randomUUID } from 'node:crypto';
import { GROUP_MEMBER_TEXT_MAX } from '../../limits.js';
import type { MemberStream } from './member-stream.js';
import { type HolderId, holderText, type MemberFacts } from './presence/group-presence.js';

export class Member {
  readonly id: string;
  readonly joinedMs = Date.now();
  /** It let events uncommitted for too long, and has not committed since: others get slices before it. */
  isSlow = false;
  /** Undefined while a named member has no connection. */
  stream: MemberStream | undefined;
  #awayTimer: NodeJS.Timeout | undefined;
  #before: readonly HolderId[] = [];

  /** `name` is empty for a member without one. */
  constructor(
    readonly name: string,
    stream: MemberStream,
    /** Members are put in order by it: see MemberFacts. */
    public order = 0,
  ) {
    this.id = name === '' ? randomUUID() : name;
    this.stream = stream;
  }

  /** Whether it can be given anything. */
  get isPresent(): boolean {
    return this.stream !== undefined && !this.stream.isOver;
  }

  /** It is what these were, at other brokers. */
  replaces(before: readonly HolderId[]): void {
    this.#before = before;
  }

  /** Whether it was that member of another broker. */
  was(holder: HolderId): boolean {
    const text = holderText(holder);
    return this.#before.some((each) => holderText(each) === text);
  }

  /** As other brokers are told. */
  get facts(): MemberFacts {
    const { id, order, joinedMs, stream } = this;
    return {
      ...{ id, named: this.name !== '', order, away: stream === undefined, slow: this.isSlow, joinedMs },
      ...{ client: shortened(stream?.asked.client), peer: shortened(stream?.caller.peer) },
      ...{ identity: shortened(stream?.caller.identity.name), replaces: this.#before },
    };
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

/** What other brokers are told of each of some hundred members must fit one entry. */
function shortened(text = ''): string {
  let short = text.slice(0, GROUP_MEMBER_TEXT_MAX);
  while (Buffer.byteLength(JSON.stringify(short)) > GROUP_MEMBER_TEXT_MAX + 2) short = short.slice(0, -1);
  return short;
}
