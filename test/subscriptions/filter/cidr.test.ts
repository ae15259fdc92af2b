/** Address blocks in filters. */
import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { blockContains, parseBlock } from '../../../src/subscriptions/filter/cidr.js';
import { runs } from '../../harness/runs.js';

/** Addresses near each other, so that blocks contain some of them. */
const ipv4 = fc
  .tuple(fc.constantFrom(10, 192), fc.nat(255), fc.constantFrom(0, 1), fc.nat(255))
  .map((p) => p.join('.'));
const ipv6 = fc.tuple(fc.constantFrom('2001:db8', 'fe80'), fc.nat(0xffff)).map(([a, b]) => `${a}::${b.toString(16)}`);

test('membership in a block is decided as by node:net', () => {
  const bits = fc.nat(128);
  fc.assert(
    fc.property(fc.oneof(fc.tuple(ipv4, ipv4), fc.tuple(ipv6, ipv6)), bits, ([network, address], wide) => {
      const family = network.includes(':') ? 'ipv6' : 'ipv4';
      const prefix = family === 'ipv4' ? wide % 33 : wide;
      const list = new BlockList();
      list.addSubnet(network, prefix, family);
      const block = parseBlock(`${network}/${prefix}`);
      assert.ok(block);
      assert.equal(blockContains(block, address), list.check(address, family));
      assert.deepEqual(parseBlock(block.text), block, 'the normal form is the same block');
    }),
    { numRuns: runs(500) },
  );
});

test('address families are separate, but an IPv4 address within IPv6 is that IPv4 address', () => {
  const ten = parseBlock('10.0.0.0/8');
  const all6 = parseBlock('::/0');
  assert.ok(ten && all6);
  assert.equal(blockContains(ten, '::ffff:10.1.2.3'), true);
  assert.equal(blockContains(ten, '::ffff:a01:203'), true);
  assert.equal(blockContains(ten, '::10.1.2.3'), false);
  assert.equal(blockContains(all6, '10.0.0.1'), false);
  assert.equal(parseBlock('::ffff:10.9.9.9/104')?.text, '10.0.0.0/8');
});

test('an invalid block or address is refused as such', () => {
  const wrong = [
    '',
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0/8',
    '::/129',
    '10.0.0.0/-1',
    '010.0.0.0/8',
    '::ffff:10.0.0.0/95',
  ];
  for (const text of wrong) assert.equal(parseBlock(text), undefined, text);
  const ten = parseBlock('10.0.0.0/8');
  assert.ok(ten);
  for (const text of ['', '10.0.0', 'x', 'fe80::1%eth0', '1'.repeat(5000)]) {
    assert.equal(blockContains(ten, text), undefined, text);
  }
});
