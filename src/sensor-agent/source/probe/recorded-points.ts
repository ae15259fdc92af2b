/**
 * Probes in the kernel whose entries are recorded with all other events, because they say what no tracepoint says. Their
 * names are the same at each start, so that the entries of an adopted instance are understood, and whoever finds their
 * definitions goes on with them.
 */
import { allDefinitions, define, recordedGroup, undefineAll } from './definitions.js';

interface RecordedPoint {
  /** The kernel's function, and the event's name. */
  readonly name: string;
  /** By Node's `process.arch`: what is fetched of a call. Others have no such probe. */
  readonly fetch: Readonly<Partial<Record<NodeJS.Architecture, string>>>;
}

const POINTS: readonly RecordedPoint[] = [
  // How a thread ends, as wait() has it: a signal in the lower 7 bits, an exit code in the next 8.
  { name: 'do_exit', fetch: { x64: 'code=%di:s64', arm64: 'code=%x0:s64' } },
  // The same, said by whoever ends all threads of its process.
  { name: 'do_group_exit', fetch: { x64: 'code=%di:s64', arm64: 'code=%x0:s64' } },
  // Called by whoever accepts a connection, with the connection's socket. Not the return of inet_csk_accept: a process
  // that waits in there since before the probe would be missed, and one that waits takes one of a few places.
  {
    name: 'security_sock_graft',
    fetch: { x64: 'socket=%di:x64', arm64: 'socket=%x0:x64' },
  },
];

/** Defines them; returns `group/event` of those that this kernel takes. */
export function definePoints(tracefs: string, recorderId: string): string[] {
  const there = allDefinitions(tracefs);
  if (there === undefined) return [];
  return POINTS.flatMap(({ name, fetch }) => {
    const event = `${recordedGroup(recorderId)}/${name}`;
    const wanted = fetch[process.arch];
    if (wanted === undefined) return [];
    try {
      if (!there.includes(event)) define(tracefs, event, name, wanted);
      return [event];
    } catch {
      return [];
    }
  });
}

/** Their events must be off in every instance. */
export function undefinePoints(tracefs: string, recorderId: string): void {
  undefineAll(tracefs, recordedGroup(recorderId));
}
