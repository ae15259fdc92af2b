/**
 * Whether a throttled subscriber got exactly the events that it should have
 * got: one of each node in an interval of the events' own times, by what
 * another subscriber received, who gets them all. With every stream throttling
 * begins anew.
 */
import type { Subscriber } from '../cluster/subscriber.js';

const SHOWN = 5;

/** Records events with their wall times, in the order of arrival. */
export class Times {
  /** Node, then boot clock: wall nanoseconds and in which of the subscriber's streams. */
  readonly nodes = new Map<string, Map<number, { readonly wallNs: bigint; readonly stream: number }>>();
  #stream = 0;

  /** A broker has accepted the subscription (again). */
  begin(): void {
    this.#stream += 1;
  }

  saw(node: string, timeNs: number, time: string): void {
    let times = this.nodes.get(node);
    if (times === undefined) {
      times = new Map();
      this.nodes.set(node, times);
    }
    times.set(timeNs, { wallNs: wallNs(time), stream: this.#stream });
  }
}

function wallNs(time: string): bigint {
  const [, seconds, fraction = ''] = /^([^.]+?)(?:\.(\d+))?Z$/.exec(time)!;
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

/** `all`: receives everything of those nodes. Events beyond the last that was delivered are not judged. */
export function wronglyThrottled(subscriber: Subscriber, all: Subscriber): string[] {
  const found: string[] = [];
  const intervalNs = BigInt(subscriber.asks.throttleMs!) * 1_000_000n;
  for (const [node, delivered] of subscriber.times.nodes) {
    const lastNs = [...delivered.keys()].at(-1)!;
    const judged = [...(all.times.nodes.get(node) ?? [])].sort(([a], [b]) => a - b);
    let last: { readonly wallNs: bigint; readonly stream: number } | undefined;
    for (const [timeNs, event] of judged) {
      if (timeNs > lastNs) break;
      const came = delivered.get(timeNs);
      const near = last !== undefined && event.wallNs - last.wallNs < intervalNs;
      if (came === undefined) {
        if (!near) found.push(`${node}: ${timeNs} should have passed`);
        continue;
      }
      if (came.wallNs !== event.wallNs) found.push(`${node}: ${timeNs} is of ${event.wallNs} and of ${came.wallNs}`);
      if (near && came.stream === last!.stream) found.push(`${node}: ${timeNs} comes before its time`);
      last = came;
    }
    for (const timeNs of delivered.keys()) {
      if (timeNs > (judged.at(-1)?.[0] ?? 0)) break;
      if (!all.times.nodes.get(node)!.has(timeNs)) found.push(`${node}: only ${subscriber.name} has ${timeNs}`);
    }
  }
  return found.slice(0, SHOWN).map((fault) => `${subscriber.name} of ${fault}`);
}
