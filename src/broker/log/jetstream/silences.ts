/**
 * What a broker's tick says of nodes that had nothing to tell.
 *
 *   tick := nothing | JSON { TOPIC: [NODE, WATERMARK][] }       WATERMARK: nanoseconds, decimal
 */
import { TICK_BYTES_MAX } from '../../../limits.js';
import type { Silence } from '../partition-log.js';

export class Silences {
  /** What waits for the next tick: of each node and topic the last. */
  readonly #waiting = new Map<string, Silence>();

  add(silence: Silence): void {
    const key = `${silence.topic} ${silence.node}`;
    const before = this.#waiting.get(key);
    if (before === undefined || silence.watermarkNs > before.watermarkNs) this.#waiting.set(key, silence);
  }

  /** The body of a tick; what is more than one may say stays for the next. */
  take(): Buffer {
    const byTopic: Record<string, [node: string, watermark: string][]> = {};
    let bytes = 0;
    for (const [key, { node, topic, watermarkNs }] of this.#waiting) {
      bytes += key.length + 32;
      if (bytes > TICK_BYTES_MAX) break;
      this.#waiting.delete(key);
      byTopic[topic] ??= [];
      byTopic[topic].push([node, watermarkNs.toString()]);
    }
    return bytes === 0 ? Buffer.alloc(0) : Buffer.from(JSON.stringify(byTopic));
  }
}

/** What no broker writes says nothing: the next frames of the nodes do. */
export function readSilences(data: Uint8Array): Silence[] {
  if (data.length === 0) return [];
  try {
    const byTopic = Object.entries(JSON.parse(Buffer.from(data).toString()) as Record<string, [string, string][]>);
    return byTopic.flatMap(([topic, each]) => {
      return each.map(([node, watermark]) => ({ node: String(node), topic, watermarkNs: BigInt(watermark) }));
    });
  } catch {
    return [];
  }
}
