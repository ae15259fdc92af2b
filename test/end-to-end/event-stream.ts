/** Events over HTTP, line by line. */

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

/** Until `take` says false. */
export async function readLines(response: Response, take: (result: Result) => boolean): Promise<void> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    const lines = text.split('\n');
    text = lines.pop()!;
    for (const line of lines) {
      if (line !== '' && !take((JSON.parse(line) as { result: Result }).result)) return;
    }
  }
}
