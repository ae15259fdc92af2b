/** A place in a log of documents that goes back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DocumentPlace } from '../../../../src/broker/delivery/documents/document-place.js';
import type { DocumentLog } from '../../../../src/broker/log/documents/document-log.js';

test('where a log of documents goes back, also behind a place, what was read ahead is read again', async () => {
  const opened: number[] = [];
  const log = {
    deliverableOffset: 10,
    cached: () => undefined,
    reader: (offset: number) => {
      opened.push(offset);
      return { offset, next: async () => undefined, close: () => undefined };
    },
  };
  const place = new DocumentPlace(log as unknown as DocumentLog, ['app.a'], { offset: 3 });
  await place.next();
  await place.next();
  assert.deepEqual(opened, [3]);
  place.rewound(5);
  await place.next();
  assert.deepEqual([place.offset, opened], [3, [3, 3]]);
  place.rewound(2);
  await place.next();
  assert.deepEqual([place.offset, opened], [2, [3, 3, 2]]);
});
