/** What brokers say to each other: it comes back as it was, and nothing that is cut or changed does harm. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../src/errors.js';
import { NAME_BYTES_MAX, ROUTE_CHUNK_BYTES } from '../../src/limits.js';
import {
  decodeRoutePart,
  decodeRouteRequest,
  encodeRouteParts,
  encodeRouteRequest,
  type RouteRequest,
} from '../../src/wire/route-message.js';

const QUERY = { queryId: 0, last: 3, creditBytes: 65_536, predicates: [{ id: '7', topics: ['process'], filter: 'x' }] };
const REQUESTS: readonly RouteRequest[] = [
  { kind: 'query', client: 'someone ü', message: { historyQuery: QUERY } },
  { kind: 'credit', bytes: 4_000_000_000_000 },
  { kind: 'cancel' },
  { kind: 'tell', message: { lease: { budget: { liveBytesPerSecond: 5 }, validMs: 1 } } },
  { kind: 'takeover' },
];

const refused = (decode: () => unknown) => {
  try {
    decode();
  } catch (cause) {
    assert.ok(cause instanceof BackplaneError && cause.code === 'invalid_argument', String(cause));
    return true;
  }
  return false;
};

test('requests come back as they were', () => {
  for (const request of REQUESTS) {
    const received = decodeRouteRequest(encodeRouteRequest(request));
    assert.equal(received.kind, request.kind);
    if (request.kind === 'credit') assert.deepEqual(received, request);
    if (received.kind === 'query') {
      assert.equal(received.client, 'someone ü');
      assert.deepEqual(
        [received.message.historyQuery?.last, received.message.historyQuery?.predicates[0]?.id],
        [3, '7'],
      );
    }
    if (received.kind === 'tell') assert.equal(received.message.lease?.budget?.liveBytesPerSecond, '5');
  }
  const { client } = decodeRouteRequest(
    encodeRouteRequest({ kind: 'query', client: 'x'.repeat(9_999), message: { historyQuery: QUERY } }),
  ) as { readonly client: string };
  assert.equal(client.length, NAME_BYTES_MAX);
});

test('a request that is cut short anywhere, or changed in a byte, is refused or is another request', () => {
  for (const request of REQUESTS) {
    const bytes = encodeRouteRequest(request);
    for (let at = 0; at < bytes.length; at++) {
      refused(() => decodeRouteRequest(bytes.subarray(0, at)));
      for (const byte of [0, 0x7f, 0x80, 0xff]) {
        const changed = Buffer.from(bytes);
        changed[at] = byte;
        refused(() => decodeRouteRequest(changed));
      }
    }
  }
  for (const bad of [
    [],
    [1],
    [2, 1],
    [1, 0],
    [1, 6],
    [1, 1, 0],
    [1, 1, 0, 9],
    [1, 2, 0, 0, 0, 0, 0, 0, 0],
    [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ]) {
    assert.ok(
      refused(() => decodeRouteRequest(Buffer.from(bad))),
      `${bad}`,
    );
  }
});

test('a message of any length comes in parts, each with its number', () => {
  fc.assert(
    fc.property(fc.nat(3 * ROUTE_CHUNK_BYTES), fc.nat(1_000), (length, first) => {
      const message = Buffer.alloc(length, 7);
      const parts = [...encodeRouteParts(message, first)].map(decodeRoutePart);
      assert.deepEqual(
        parts.map(({ number }) => number),
        parts.map((_, at) => first + at),
      );
      assert.deepEqual(
        parts.map(({ more }) => more),
        parts.map((_, at) => at < parts.length - 1),
      );
      assert.ok(Buffer.concat(parts.map(({ bytes }) => bytes)).equals(message));
    }),
    { numRuns: 50 },
  );
  const long = Buffer.alloc(6 + ROUTE_CHUNK_BYTES + 1);
  long[0] = 1;
  for (const bad of [Buffer.alloc(0), Buffer.of(2, 0, 0, 0, 0), Buffer.of(9, 0, 0, 0, 0, 0), long]) {
    assert.ok(refused(() => decodeRoutePart(bad)));
  }
});
