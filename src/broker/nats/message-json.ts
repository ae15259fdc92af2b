/** Messages between brokers that are JSON. */
import type { Msg } from 'nats';

/** What another broker asks or answers, unchecked; undefined where it is no JSON. */
export function jsonOf(message: Msg): unknown {
  try {
    return message.json();
  } catch {
    return undefined;
  }
}
