/** Network addresses as text, from the kernel and from settings. */
import assert from 'node:assert/strict';
import { isIPv6, SocketAddress } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { ipv4Text, ipv6Text, isV4Mapped, tcpEndpoints } from '../../../src/sensor-agent/timeline/addresses.js';

test('IPv6 text is in the canonical form that the system prints', () => {
  const byte = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(byte, { minLength: 16, maxLength: 16 }), (bytes) => {
      const long = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2]! << 8) | bytes[at * 2 + 1]!).toString(16)).join(
        ':',
      );
      const text = ipv6Text(bytes);
      assert.ok(isIPv6(text), text);
      const canonical = new SocketAddress({ address: long, family: 'ipv6' }).address;
      if (!canonical.includes('.')) assert.equal(text, canonical);
    }),
  );
});

test('known addresses are written as expected', () => {
  assert.equal(ipv4Text([127, 0, 0, 1]), '127.0.0.1');
  assert.equal(ipv6Text(new Array(16).fill(0)), '::');
  assert.equal(ipv6Text([...new Array(15).fill(0), 1]), '::1');
  assert.ok(isV4Mapped([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1]));
  assert.ok(!isV4Mapped([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 254, 10, 0, 0, 1]));
});

test('endpoints are parsed from settings', () => {
  assert.deepEqual(tcpEndpoints('127.0.0.1:8484'), ['127.0.0.1:8484']);
  assert.deepEqual(tcpEndpoints('[0:0::1]:1'), ['::1:1']);
  assert.deepEqual(tcpEndpoints('[::]:1'), [':::1']);
  assert.deepEqual(tcpEndpoints('localhost:2'), ['127.0.0.1:2', '::1:2']);
  assert.deepEqual(tcpEndpoints('broker.example:3'), []);
});
