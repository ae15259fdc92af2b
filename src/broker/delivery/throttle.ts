/**
 * Admits at most one event per interval and key, by the events' own times, over
 * all nodes. Events may come in any order, because clocks differ and refills are
 * older than live events. The last THROTTLE_EVENTS_MAX admitted events are
 * remembered, and only in this process: for a forgotten one, or after the
 * subscription is resumed, another event may be admitted too early.
 */
import { createHash } from 'node:crypto';
import { THROTTLE_EVENTS_MAX } from '../../limits.js';
import type { ThrottleRequest } from '../../subscriptions/request/throttle-request.js';
import { eventWallNs } from '../../wire/event/event-time.js';
import { compileKeyMask, cutRuns, type FieldMask } from '../../wire/event/field-mask.js';

/** Longer keys are replaced by their hash, which bounds memory. */
const KEY_BYTES_MAX = 32;

export class Throttle {
  readonly #mask: FieldMask;
  /** Key and interval to the wall time (nanoseconds) of the one event that was admitted in it, the oldest first. */
  readonly #delivered = new Map<string, bigint>();

  readonly #request: ThrottleRequest;

  constructor(request: ThrottleRequest) {
    this.#request = request;
    this.#mask = compileKeyMask(request.by);
  }

  /** `element` is `tag length Event`, as in frames. Throws invalid_argument when it is not an event. */
  admits(node: string, topic: string, element: Buffer): boolean {
    const { intervalNs, byNode, byTopic } = this.#request;
    const key = keyText(`${byNode ? node : ''} ${byTopic ? topic : ''} `, cutRuns(element, this.#mask));
    const timeNs = eventWallNs(element);
    const slot = timeNs / intervalNs;
    for (const near of [slot, slot - 1n, slot + 1n]) {
      const otherNs = this.#delivered.get(`${near} ${key}`);
      if (otherNs !== undefined && timeNs < otherNs + intervalNs && otherNs < timeNs + intervalNs) return false;
    }
    this.#delivered.set(`${slot} ${key}`, timeNs);
    if (this.#delivered.size > THROTTLE_EVENTS_MAX) this.#delivered.delete(this.#delivered.keys().next().value!);
    return true;
  }
}

function keyText(source: string, fields: Buffer): string {
  const text = source + fields.toString('latin1');
  return text.length <= KEY_BYTES_MAX ? text : createHash('sha256').update(text).digest('base64');
}
