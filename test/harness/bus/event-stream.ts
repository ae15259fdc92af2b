/** Events over HTTP, line by line. */
import { settled } from '../until.js';

/** A position, without its epoch. */
export interface Place {
  readonly timeNs: string;
  readonly lane?: number;
  readonly tie?: number;
}

export interface Result {
  readonly event?: { readonly position: Place };
  readonly refill?: boolean;
  readonly cursor?: string;
  readonly gap?: { readonly events: string; readonly from: Place; readonly to: Place; readonly reason: string };
}

export function nameOf({ timeNs, lane = 0, tie = 0 }: Place): string {
  return `${timeNs}:${lane}:${tie}`;
}

export function isAfter(a: Place, b: Place): boolean {
  const laterNs = BigInt(a.timeNs) - BigInt(b.timeNs);
  if (laterNs !== 0n) return laterNs > 0n;
  const lanes = (a.lane ?? 0) - (b.lane ?? 0);
  return lanes === 0 ? (a.tie ?? 0) > (b.tie ?? 0) : lanes > 0;
}

/**
 * Reads until `take` returns false or the stream ends. @throws when nothing comes for 60 s, unless it may be `quiet`,
 * and when the stream ends with an error
 */
export async function readLines<R = Result>(
  response: Response,
  take: (result: R) => boolean,
  quiet = false,
): Promise<void> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let text = '';
  try {
    for (;;) {
      const next = reader.read();
      const { done, value } = await (quiet ? next : settled('lines of a stream', next));
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        if (line === '') continue;
        const { result, error } = JSON.parse(line) as { result?: R; error?: { detail: string } };
        if (error) throw new Error(error.detail);
        // The last line says why the stream ended.
        if (result === undefined || !take(result)) return;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
