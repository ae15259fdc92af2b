/**
 * At most one event in an interval for each key, by the events' own times, over
 * all nodes, in whatever order they come: clocks differ, and refills are older
 * than what comes live. What was delivered is remembered by key and interval,
 * so many as THROTTLE_EVENTS_MAX; for what is forgotten, as with the
 * subscription's stream, an event may come before its time.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { THROTTLE_EVENTS_MAX } from '../../limits.js';
import type { ThrottleRequest } from '../../subscriptions/request/throttle-request.js';
import { eventWallNs } from '../../wire/event/event-time.js';
import { compileKeyMask, cutRuns, type FieldMask } from '../../wire/event/field-mask.js';

/** Longer keys are remembered by their hash. */
const KEY_BYTES_MAX = 32;

export class Throttle {
  private readonly mask: FieldMask;
  /** Key and interval of time to the event of it that was delivered: there is at most one. */
  private readonly delivered = new LRUCache<string, bigint>({ max: THROTTLE_EVENTS_MAX });

  constructor(private readonly request: ThrottleRequest) {
    this.mask = compileKeyMask(request.by);
  }

  /** `element` is `tag length Event`, as in frames. Throws invalid_argument when it is none. */
  admits(node: string, topic: string, element: Buffer): boolean {
    const { intervalNs, byNode, byTopic } = this.request;
    const key = keyText(`${byNode ? node : ''} ${byTopic ? topic : ''} `, cutRuns(element, this.mask));
    const timeNs = eventWallNs(element);
    const slot = timeNs / intervalNs;
    for (const near of [slot, slot - 1n, slot + 1n]) {
      const otherNs = this.delivered.get(`${near} ${key}`);
      if (otherNs !== undefined && timeNs < otherNs + intervalNs && otherNs < timeNs + intervalNs) return false;
    }
    this.delivered.set(`${slot} ${key}`, timeNs);
    return true;
  }
}

function keyText(source: string, fields: Buffer): string {
  const text = source + fields.toString('latin1');
  return text.length <= KEY_BYTES_MAX ? text : createHash('sha256').update(text).digest('base64');
}
