/** Headers are read from what came, as the client would read them, and kept without it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderText, headerText } from '../../../src/broker/nats/header-text.js';

test('headers are known by their whole names, the first of a name counts, and what they came in may be used again', () => {
  const came = Buffer.from(
    headerText([
      ['Not-Name', 'no'],
      ['Other', 'Name: no'],
      ['Name', 'ü:1'],
      ['Name', 'no'],
    ]),
  );
  const headers = new HeaderText(came);
  came.fill(0x5a);
  assert.deepEqual(
    ['Name', 'name', 'Nam', 'Not-Name'].map((name) => headers.get(name)),
    ['ü:1', '', '', 'no'],
  );
  assert.deepEqual([headers.has('Name'), headers.has('Nam')], [true, false]);
});
