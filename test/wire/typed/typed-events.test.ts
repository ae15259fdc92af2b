/** The client library's events: the same by both ways, and of every type what its type says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../../src/errors.js';
import { type BusEvent, TOPICS } from '../../../src/wire/event/event.js';
import { eventToJson } from '../../../src/wire/event/event-json.js';
import { partsOf } from '../../../src/wire/event/event-parts.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { eventCodec } from '../../../src/wire/messages.js';
import { ProtoReader } from '../../../src/wire/protobuf.js';
import { typedBatch } from '../../../src/wire/received-batch.js';
import { type BackplaneEvent, eventOf } from '../../../src/wire/typed/messages.js';
import { event } from '../../harness/arbitrary/event-arbitrary.js';
import { busEvent, CURL, V4, WALL_NS } from '../../harness/bus/event-fixture.js';

/** By the wire and by JSON. */
function bothWays(of: BusEvent): readonly [BackplaneEvent, BackplaneEvent] {
  const writer = new EventWriter();
  writer.write(of);
  const run = Buffer.from(writer.take());
  const element = new ProtoReader(run, 'run');
  element.nextTag();
  const bytes = element.chunk();
  const json = eventToJson(eventCodec.decode(bytes, bytes.length), 'node-a', 'process');
  const batch = typedBatch(Buffer.concat([Buffer.from([0x12, ...varint(run.length)]), run]));
  return [batch!.typed[0]!, eventOf(JSON.parse(JSON.stringify(json)))];
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}

test('an event is the same from the wire and from JSON', () => {
  fc.assert(
    fc.property(event, (each) => {
      const [wire, json] = bothWays(each);
      assert.deepEqual(wire, json);
    }),
  );
});

test('numbers of 64 bits and times are bigints, and what is not set is at its default', () => {
  const parts = { process: { ...CURL, creationTimeNs: WALL_NS - 1n }, network: V4 };
  const [wire] = bothWays(busEvent('network.tcp.connect', parts));
  assert.ok(wire.type === 'network.tcp.connect');
  const { timeNs, position, process, network } = wire;
  assert.deepEqual(
    { timeNs, position },
    {
      timeNs: WALL_NS,
      position: { epoch: 7n, timeNs: 5_000_000_000n, lane: 1, tie: 0 },
    },
  );
  const { pid, creationTimeNs, user, cgroup, tty, ancestors, exitCode } = process;
  assert.deepEqual(
    { pid, creationTimeNs, user, cgroup, tty, ancestors, exitCode },
    {
      ...{ pid: 123, creationTimeNs: WALL_NS - 1n, user: { id: 0, name: '' }, cgroup: undefined },
      ...{ tty: '', ancestors: [], exitCode: undefined },
    },
  );
  assert.deepEqual(network, { ...V4, failed: false, datagrams: 0 });
});

test('an event has the parts that its type always has, though its subscription left them out', () => {
  for (const type of Object.values(TOPICS).flatMap(({ types }) => types)) {
    const [wire, json] = bothWays(busEvent(type));
    assert.deepEqual(wire, json);
    assert.deepEqual(Object.keys(wire).sort(), ['position', 'timeNs', 'type', ...partsOf(type).always].sort(), type);
  }
});

test('an event of a type that is not known has the parts that came', () => {
  const [wire, json] = bothWays(busEvent('process.newer', { process: CURL }));
  assert.deepEqual(wire, json);
  assert.deepEqual(Object.keys(wire).sort(), ['position', 'process', 'timeNs', 'type']);
});

test('what is no event is refused, or is another event, and nothing hangs', () => {
  const writer = new EventWriter();
  writer.write(busEvent('network.tcp.connect', { process: CURL, network: V4 }));
  const run = Buffer.from(writer.take());
  const whole = Buffer.concat([Buffer.from([0x12, ...varint(run.length)]), run]);
  let refused = 0;
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      const changed = Buffer.from(whole);
      changed[at] = byte;
      try {
        typedBatch(changed);
      } catch (cause) {
        assert.ok(cause instanceof BackplaneError, String(cause));
        refused += 1;
      }
    }),
    { numRuns: 2_000 },
  );
  assert.ok(refused > 100);
});
