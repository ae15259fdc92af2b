/**
 * Probes in the kernel whose entries are recorded with all other events, because they say what no tracepoint says. Their
 * names are the same at each start, so that the entries of an adopted instance are understood, and whoever finds their
 * definitions goes on with them.
 */
import { OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { allDefinitions, type DefinedAs, define, recordedGroup, undefineAll } from './definitions.js';

interface RecordedPoint {
  /** The kernel's function, and the event's name. */
  readonly name: string;
  /** What is fetched of a call: a name and a type for its first argument. */
  readonly first: readonly [name: string, type: string];
}

const POINTS: readonly RecordedPoint[] = [
  // How a thread ends, as wait() has it: a signal in the lower 7 bits, an exit code in the next 8.
  { name: 'do_exit', first: ['code', 's64'] },
  // The same, said by whoever ends all threads of its process.
  { name: 'do_group_exit', first: ['code', 's64'] },
  // Called by whoever accepts a connection, with the connection's socket. Not the return of inet_csk_accept: a process
  // that waits in there since before the probe would be missed, and one that waits takes one of a few places.
  { name: 'security_sock_graft', first: ['socket', 'x64'] },
];

/** Defines them; returns `group/event` of those that this kernel takes. */
export function definePoints(tracefs: string, recorderId: string): string[] {
  const there = allDefinitions(tracefs);
  if (there === undefined || OWN_ARCHITECTURE === undefined) return [];
  const [register] = OWN_ARCHITECTURE.registers;
  return POINTS.flatMap((point) => {
    const event = eventOf(recorderId, point);
    try {
      if (!there.includes(event)) define(tracefs, event, point.name, fetchOf(point, register));
      return [event];
    } catch {
      return [];
    }
  });
}

/** As what they are defined, where they are. */
export function recordedDefinedAs(recorderId: string): DefinedAs[] {
  const [register] = OWN_ARCHITECTURE?.registers ?? [];
  if (register === undefined) return [];
  return POINTS.map((point) => [eventOf(recorderId, point), [`${point.name} ${fetchOf(point, register)}`]]);
}

function eventOf(recorderId: string, { name }: RecordedPoint): string {
  return `${recordedGroup(recorderId)}/${name}`;
}

function fetchOf({ first: [field, type] }: RecordedPoint, register: string): string {
  return `${field}=${register}:${type}`;
}

/** Their events must be off in every instance. */
export function undefinePoints(tracefs: string, recorderId: string): void {
  undefineAll(tracefs, recordedGroup(recorderId));
}
