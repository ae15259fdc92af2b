/** Random events for property tests: whatever a node may write. */
import fc from 'fast-check';
import type { BusEvent } from '../../../src/wire/event/event.js';

const text = fc.string({ unit: 'grapheme', maxLength: 300 });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const int64 = fc.oneof(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), fc.constantFrom(0n, -1n, 1n));
export const event: fc.Arbitrary<BusEvent> = fc.record(
  {
    type: fc.constantFrom('process.exec', 'network.tcp.connect'),
    topic: fc.constant('process'),
    position: fc.record({
      epoch: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      timeNs: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      lane: fc.integer({ min: 0, max: 0xffff }),
      tie: fc.integer({ min: 0, max: 0xffffffff }),
    }),
    wallNs: fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }),
    process: fc.record(
      {
        pid: int32,
        parentPid: int32,
        comm: text,
        executable: fc.record({ path: text, name: text }),
        commandArgs: fc.array(text, { maxLength: 20 }),
        commandArgsMissed: fc.boolean(),
        commandArgsTruncated: fc.boolean(),
        workingDirectory: text,
        user: fc.record({ id: fc.integer({ min: 0, max: 0xffffffff }) }),
        cgroup: fc.record({ path: text }),
        previousComm: text,
        inferred: fc.subarray(['working_directory', 'user', 'cgroup', 'executable']),
      },
      { requiredKeys: ['pid'] },
    ),
    container: fc.record({
      ...{ id: text, name: text, image: fc.record({ name: text, tags: fc.array(text, { maxLength: 2 }) }) },
      unresolved: fc.boolean(),
    }),
    k8s: fc.record({ podName: text, podUid: text, namespaceName: text }),
    network: fc.record(
      {
        type: fc.constantFrom('ipv4', 'ipv6'),
        transport: fc.constantFrom('tcp', 'udp'),
        local: fc.record({ address: text, port: fc.nat(65_535) }),
        peer: fc.record({ address: text, port: fc.nat(65_535) }),
        failed: fc.boolean(),
        datagrams: fc.nat(0xffff_ffff),
      },
      { requiredKeys: ['type', 'transport', 'local', 'peer'] },
    ),
    dns: fc.record(
      { question: fc.record({ name: text, type: text }), questionMissed: fc.boolean() },
      { requiredKeys: [] },
    ),
    signal: fc.record({ number: int32, name: text, targetPid: int32, targetComm: text, code: int32, result: int32 }),
    raw: fc.record({
      name: text,
      fields: fc.dictionary(fc.stringMatching(/^[a-z]{1,9}$/), text, { maxKeys: 4, noNullPrototype: true }),
    }),
    syscall: fc.record({
      id: int64,
      name: text,
      args: fc.array(int64, { maxLength: 6 }),
      result: int64,
      returned: fc.boolean(),
      command: text,
      targetPid: int32,
    }),
    file: fc.record({
      path: text,
      pathMissed: fc.boolean(),
      pathResolved: fc.boolean(),
      newPath: text,
      descriptor: int32,
      flags: int32,
      mode: int32,
      ownerId: int32,
      groupId: int32,
      size: int64,
      mountNamespace: fc.nat(0xffff_ffff),
    }),
    mount: fc.record({ source: text, target: text, type: text, missed: fc.boolean() }),
    object: fc.record({ name: text, nameMissed: fc.boolean() }),
  },
  { requiredKeys: ['type', 'topic', 'position', 'wallNs'] },
);
