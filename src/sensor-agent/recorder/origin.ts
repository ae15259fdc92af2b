/** Builds the ORIGIN record that an agent writes when it begins: readers need it to interpret the recording. */
import { statSync } from 'node:fs';
import { brokerAddress } from '../../text/broker-address.js';
import type { AgentOptions } from '../agent-options.js';
import { currentBootId } from '../boot-id.js';
import { listeningSockets } from '../source/listening-sockets.js';
import type { Source } from '../source/source.js';
import { tcpEndpoints } from '../timeline/addresses.js';
import type { Origin } from './recording.js';

/** The same epoch while the machine and the source stay the same; a later one otherwise. */
export function originOf(
  before: Origin,
  continued: boolean,
  { name, formats, entriesTaken, overwritten }: Source,
  degraded: string | undefined,
  { brokers, parent }: AgentOptions,
): Origin {
  const bootId = currentBootId();
  const same = before.bootId === bootId && before.source === name;
  const epoch = same ? before.epoch : Math.max(before.epoch + 1, Math.floor(Date.now() / 1000));
  return {
    epoch,
    continued: same && continued,
    bootId,
    source: name,
    formats: formats.texts(),
    entriesTaken,
    ...(overwritten ? { overwritten } : {}),
    selfPids: parent === undefined ? [process.pid] : [process.pid, parent.pid],
    selfSockets: {
      brokers: brokers.flatMap((broker) => tcpEndpoints(brokerAddress(broker).address)),
      listeners: parent?.listens.flatMap(tcpEndpoints).map((endpoint) => [endpoint, parent.pid] as const) ?? [],
    },
    ...(name === 'tracefs' && !(same && continued) ? { listeners: listeningSockets() } : {}),
    ...(degraded === undefined ? {} : { degraded }),
    ...usualNamespace(),
  };
}

/** A container's own, where the agent does not share the host's pids. */
function usualNamespace(): Pick<Origin, 'mountNamespace'> {
  for (const process of ['1', 'self']) {
    try {
      return { mountNamespace: statSync(`/proc/${process}/ns/mnt`).ino };
    } catch {
      // Not every root may look at the first process.
    }
  }
  return {};
}
