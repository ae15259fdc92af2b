/** Defines the probes of paths (path-points.ts), and keeps those that told the paths of operations of our own. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { CATALOGUE, callEvent, pathEvent, pathPointsOf } from '../../../subscriptions/pushdown/catalogue.js';
import { kernelTypes } from '../probe/btf.js';
import { allDefinitions, type DefinedAs, recordedGroup, trialGroup } from '../probe/definitions.js';
import { withProof } from '../probe/proof.js';
import { eventsOf, PATH_POINTS, type PathPoint } from './path-points.js';
import { PathProof } from './path-proof.js';

/** `unlinkat` does either: where one alone were told by its probe, a directory's end would be told twice or never. */
const TOGETHER = ['unlink', 'rmdir'];

export interface PathPoints {
  /** `group/event` of those that told our own paths. */
  readonly events: readonly string[];
  /** Operations whose paths are not told, and why. */
  readonly refused: ReadonlyMap<string, string>;
}

/**
 * Defines them, and keeps those that told our own paths. Those that an agent of this recorder left are believed, as it has
 * proved them. Done in the calling thread, some tens of milliseconds.
 */
export async function definePathPoints(tracefs: string, recorderId: string): Promise<PathPoints> {
  const registers = OWN_ARCHITECTURE?.registers;
  if (registers === undefined || !existsSync(join(tracefs, 'kprobe_events')))
    return { events: [], refused: all('this kernel has no kprobes') };
  const group = recordedGroup(recorderId);
  const there = allDefinitions(tracefs) ?? [];
  const left = PATH_POINTS.filter((point) => eventsOf(group, point).every((event) => there.includes(event)));
  const wanted = PATH_POINTS.filter((point) => !left.includes(point));
  const refused = new Map<string, string>();
  let proved: readonly PathPoint[] = [];
  try {
    if (wanted.length > 0)
      proved = await withProof(tracefs, recorderId, (instance) => {
        const proof = new PathProof(tracefs, instance, trialGroup(recorderId), registers, refused);
        const told = proof.prove(wanted);
        const { kept } = together([...left, ...told]);
        proof.keep(
          told.filter((point) => kept.includes(point)),
          group,
        );
        return told;
      });
  } catch (cause) {
    for (const { operation } of wanted) refused.set(operation, (cause as Error).message);
  }
  const { kept, alone, lacking } = together([...left, ...proved]);
  for (const { operation } of alone) refused.set(operation, `only with those of ${lacking}`);
  return { events: kept.flatMap((point) => eventsOf(group, point)), refused };
}

/** As what they are defined, where they are: in one of their functions. */
export function pathsDefinedAs(recorderId: string): DefinedAs[] {
  const registers = OWN_ARCHITECTURE?.registers;
  if (registers === undefined) return [];
  const group = recordedGroup(recorderId);
  return PATH_POINTS.flatMap(({ operation, places }) => {
    const texts = (fetchOf: (place: (typeof places)[number]) => string | undefined) =>
      places.flatMap((place) => {
        const fetch = fetchOf(place);
        return fetch === undefined ? [] : [`${place.function} ${fetch}`];
      });
    const paths: DefinedAs = [
      `${group}/${pathEvent(operation)}`,
      texts((place) => place.paths(registers, kernelTypes)),
    ];
    const calls = texts((place) => place.call?.(registers, kernelTypes));
    return calls.length === 0 ? [paths] : [paths, [`${group}/${callEvent(operation)}`, calls]];
  });
}

/** Which of some are told, and which are not because what belongs to them is lacking. */
function together(held: readonly PathPoint[]) {
  const lacking = TOGETHER.find((each) => !held.some(({ operation }) => operation === each));
  const alone = held.filter(({ operation }) => lacking !== undefined && TOGETHER.includes(operation));
  return { kept: held.filter((point) => !alone.includes(point)), alone, lacking };
}

/** "unlink, rmdir (why), rename (why)" */
export function refusedText(refused: PathPoints['refused']): string {
  const causes = [...new Set(refused.values())].map((why) => {
    const operations = [...refused].filter(([, each]) => each === why).map(([operation]) => operation);
    return `${operations.join(', ')} (${why})`;
  });
  return causes.join(', ');
}

/** By event type: how the paths are had, or not, of operations that are refused. */
export function blindSpotsOf(refused: PathPoints['refused']): ReadonlyMap<string, string> {
  const entries = [...CATALOGUE.values()].flatMap((entry) => {
    const { type } = entry;
    const refusals = pathPointsOf(entry).flatMap(({ name }) =>
      [...refused].filter(([operation]) => name === pathEvent(operation)),
    );
    const [first, ...others] = refusals;
    if (first === undefined) return [];
    const all = others.length + 1 === pathPointsOf(entry).length;
    const of = all ? 'the path' : `the path of ${first[0]}`;
    const instead = type === 'file.open' ? 'is the link of its descriptor, read a moment later' : 'is not known';
    return [[type, `${of} ${instead}, as the kernel's own copy cannot be had: ${first[1]}`] as const];
  });
  return new Map(entries);
}

function all(why: string): ReadonlyMap<string, string> {
  return new Map(PATH_POINTS.map(({ operation }) => [operation, why]));
}
