/**
 * Recorded probes that an earlier version left and that are not what this one would define: it may have fetched less, or
 * from another place. Their names are the same, so that only what the kernel says of them tells. Those of execs have it
 * in their names (probe-layout.ts).
 */
import { callsDefinedAs } from '../calls/call-points.js';
import { datagramsDefinedAs } from '../datagrams/datagram-points.js';
import { pathsDefinedAs } from '../paths/define-paths.js';
import { allDefined, queriesGroup, recordedGroup } from '../probe/definitions.js';
import { recordedDefinedAs } from '../probe/recorded-points.js';
import { userDefinedAs } from '../probe/user-point.js';

/** `group/event` of those; of others that this version does not know either. */
export function outdatedPoints(tracefs: string, recorderId: string): string[] {
  const groups = [recordedGroup(recorderId), queriesGroup(recorderId)];
  const left = [...(allDefined(tracefs) ?? [])].filter(([event]) =>
    groups.some((group) => event.startsWith(`${group}/`)),
  );
  // Nearly always; else what the kernel says of itself has to be read.
  if (left.length === 0) return [];
  const known = new Map([
    ...recordedDefinedAs(recorderId),
    ...userDefinedAs(recorderId),
    ...pathsDefinedAs(recorderId),
    ...callsDefinedAs(recorderId),
    ...datagramsDefinedAs(recorderId),
  ]);
  return left.filter(([event, what]) => known.get(event)?.includes(what) !== true).map(([event]) => event);
}
