/** The numbered events of the synthetic source: execs whose last argument is `--sequence=N`, so that none goes unmissed. */

/** Settings of an agent that records so many numbered events a second, and nothing else. */
export function numberedEvents(perSecond: number) {
  return {
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: String(perSecond),
    BACKPLANE_SYNTHETIC_MIX: 'numbered=1',
  } as const;
}

/** The number of such an event; undefined: it is of another kind, or its arguments were missed. */
export function sequenceNumber(commandArgs: readonly string[] = []): number | undefined {
  const digits = /^--sequence=(\d+)$/.exec(commandArgs.at(-1) ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}
