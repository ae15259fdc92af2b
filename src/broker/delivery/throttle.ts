/**
 * At most one event in an interval for each key, by the events' own times, over
 * all nodes. Who has been seen is forgotten with the subscription's stream, and
 * for keys beyond THROTTLE_KEYS_MAX: then an event may come before its time.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { THROTTLE_KEYS_MAX } from '../../limits.js';
import type { ThrottleRequest } from '../../subscriptions/throttle-request.js';
import { eventWallNs } from '../../wire/event-time.js';
import { compileKeyMask, cutRuns, type FieldMask } from '../../wire/field-mask.js';

/** Longer keys are remembered by their hash. */
const KEY_BYTES_MAX = 32;

export class Throttle {
  private readonly mask: FieldMask;
  /** Key to when the last one was delivered. */
  private readonly seen = new LRUCache<string, bigint>({ max: THROTTLE_KEYS_MAX });

  constructor(private readonly request: ThrottleRequest) {
    this.mask = compileKeyMask(request.by);
  }

  /** `element` is `tag length Event`, as in frames. Throws invalid_argument when it is none. */
  admits(node: string, topic: string, element: Buffer): boolean {
    const { intervalNs, byNode, byTopic } = this.request;
    const key = keyText(`${byNode ? node : ''} ${byTopic ? topic : ''} `, cutRuns(element, this.mask));
    const timeNs = eventWallNs(element);
    const lastNs = this.seen.get(key);
    // Nodes are not in step: an event may be older than the one before it.
    if (lastNs !== undefined && timeNs < lastNs + intervalNs && timeNs > lastNs - intervalNs) return false;
    if (lastNs === undefined || timeNs > lastNs) this.seen.set(key, timeNs);
    return true;
  }
}

function keyText(source: string, fields: Buffer): string {
  const text = source + fields.toString('latin1');
  return text.length <= KEY_BYTES_MAX ? text : createHash('sha256').update(text).digest('base64');
}
