/** Events as the wire brings them: encoded by the node's writer, decoded as a client does. */
import type { BusEvent, ProcessContext } from '../../../src/wire/event/event.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { type EventBatchMessage, type EventMessage, eventBatchCodec } from '../../../src/wire/messages.js';

/** 2026-11-23 10:02:03.123456789 UTC. */
export const WALL_NS = 1_795_428_123_123_456_789n;

export function busEvent(type: string, rest: Partial<BusEvent> = {}): BusEvent {
  const position = { epoch: 7, timeNs: 5_000_000_000n, lane: 1, tie: 0 };
  return { type, topic: type.split('.')[0] ?? '', position, wallNs: WALL_NS, ...rest };
}

export function wireEvent(type: string, rest: Partial<BusEvent> = {}): EventMessage {
  const writer = new EventWriter();
  writer.write(busEvent(type, rest));
  const batch = eventBatchCodec.decode(writer.take(), 1 << 20) as EventBatchMessage;
  return batch.events[0] as EventMessage;
}

export const CURL: ProcessContext = {
  pid: 123,
  parentPid: 100,
  comm: 'curl',
  executable: { path: '/usr/bin/curl', name: 'curl' },
  commandArgs: ['curl', '-s', 'https://example.org/a b'],
  user: { id: 0 },
};

export const BASH = { pid: 100, parentPid: 1, comm: 'bash', user: { id: 0 } };

export const V4 = {
  type: 'ipv4',
  transport: 'tcp',
  local: { address: '10.0.0.2', port: 5555 },
  peer: { address: '10.0.0.1', port: 443 },
} as const;
