/** Which selectors each event of a batch matches, from the lists that the batch has by selector. */

interface BatchMatches {
  readonly matches?: readonly SelectorMatch[] | undefined;
}

interface SelectorMatch {
  readonly selector: string;
  readonly all: boolean;
  readonly indices: readonly number[];
}

/** By place of an event in the batch, the ids of its selectors, in the order of the lists. */
export function selectorsOf({ matches = [] }: BatchMatches): (event: number) => readonly string[] {
  const byEvent = new Map<number, string[]>();
  const everywhere = matches.every(({ all }) => all);
  if (everywhere) {
    const ids = matches.map(({ selector }) => selector);
    return () => ids;
  }
  const sets = matches.map(({ selector, all, indices }) => ({ selector, all, indices: new Set(indices) }));
  return (event) => {
    let ids = byEvent.get(event);
    if (ids === undefined) {
      ids = sets.flatMap(({ selector, all, indices }) => (all || indices.has(event) ? [selector] : []));
      byEvent.set(event, ids);
    }
    return ids;
  };
}
