/** Pages of a list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Grant } from '../../../src/broker/access/authorize.js';
import { Listings } from '../../../src/broker/api/listings.js';
import { onePage, pageByName, pageByNumber } from '../../../src/broker/api/page.js';
import { NodeRecord } from '../../../src/broker/nodes/node-record.js';
import type { BackplaneError } from '../../../src/errors.js';
import {
  MESSAGE_BYTES_MAX,
  NODE_MESSAGE_CHARACTERS_MAX,
  NODES_MAX,
  PAGE_BYTES,
  PAGE_ITEMS_MAX,
} from '../../../src/limits.js';
import { listNodesResponseCodec } from '../../../src/wire/messages.js';

const NOTHING_DENIED = { node: () => true } as unknown as Grant;

test('property: one page after the other has every item once and in order, each within its size and its bytes', () => {
  const size = fc.constantFrom(0, 1, 2, 7);
  const item = fc.record({ after: fc.integer({ min: 1, max: 3 }), bytes: fc.nat(PAGE_BYTES) });
  fc.assert(
    fc.property(fc.array(item), size, (steps, pageSize) => {
      let number = 0;
      const all = steps.map(({ after, bytes }) => {
        number += after;
        return { number, bytes };
      });
      const got: number[] = [];
      let pageToken = '';
      do {
        const page = onePage(
          all,
          pageByNumber({ pageSize, pageToken }),
          (each) => each.number,
          ({ bytes }) => bytes,
        );
        assert.ok(page.items.length <= (pageSize || PAGE_ITEMS_MAX));
        const before = page.items.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0);
        assert.ok(before < PAGE_BYTES);
        got.push(...page.items.map((each) => each.number));
        pageToken = page.nextPageToken;
        assert.ok(page.items.length > 0 || pageToken === '');
      } while (pageToken !== '');
      assert.deepEqual(
        got,
        all.map((each) => each.number),
      );
    }),
  );
});

test('a size or token that is none is refused, naming it', () => {
  for (const [request, message] of [
    [{ pageSize: 1_001 }, 'page_size: must be a whole number from 0 to 1000, got 1001'],
    [{ pageSize: '-1' }, 'page_size: must be a whole number from 0 to 1000, got "-1"'],
    [{ pageToken: 'x' }, 'page_token: must be what the answer before said, got "x"'],
    [{ pageToken: '9'.repeat(16) }, `page_token: must be what the answer before said, got "${'9'.repeat(16)}"`],
  ] as const) {
    assert.throws(
      () => pageByNumber(request),
      (error: BackplaneError) => error.code === 'invalid_argument' && error.message === message,
      message,
    );
  }
});

test('names have pages too, in their order, whatever comes and goes between two pages', () => {
  const names = ['a', 'b.c', 'd'];
  const page = (pageToken: string, of = names) => {
    return onePage(of, pageByName({ pageSize: 2, pageToken }), String, () => 1);
  };
  assert.deepEqual(page(''), { items: ['a', 'b.c'], nextPageToken: 'b.c' });
  assert.deepEqual(page('b.c', ['a', 'b', 'c', 'd']), { items: ['c', 'd'], nextPageToken: '' });
  assert.throws(() => page('two words'), /page_token: must be what the answer before said/);
});

test('pages of all the nodes that a broker knows fit their messages, whatever they say of themselves', async () => {
  const records = Array.from({ length: NODES_MAX }, (_, at) => {
    const record = new NodeRecord(`node-${at}.${'x'.repeat(100)}`);
    const labels = Array.from({ length: 20 }, (_, label) => `example.org/label-${label}=${'x'.repeat(60)}`);
    const hello = { version: '1.0.0', kernelRelease: '6.12.0-amd64', source: 'tracefs', profiles: [], labels };
    const blindSpots = at % 100 === 0 ? { 'file.open': 'x'.repeat(NODE_MESSAGE_CHARACTERS_MAX) } : {};
    return Object.assign(record, { hello, report: { blindSpots } });
  });
  const registry = { all: () => records };
  const budget = {
    liveBytesPerSecond: 1 << 20,
    liveEventsPerSecond: 10_000,
    historyBytesPerSecond: 1 << 20,
    burstMs: 1_000,
  };
  const parts = [{}, registry, { budget: () => budget }] as unknown as ConstructorParameters<typeof Listings>;
  const listings = new Listings(...parts);
  const names: string[] = [];
  let pageToken = '';
  do {
    const page = await listings.nodes(NOTHING_DENIED, pageByName({ pageToken }));
    const bytes = listNodesResponseCodec.encode(page).length;
    assert.ok(bytes < MESSAGE_BYTES_MAX, `${bytes} bytes`);
    names.push(...(page.nodes ?? []).map(({ name }) => name ?? ''));
    pageToken = page.nextPageToken ?? '';
  } while (pageToken !== '');
  assert.deepEqual(names, records.map(({ name }) => name).sort());
});
