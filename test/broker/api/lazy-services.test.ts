/** Services that a library serves from the first call on: what cannot be decoded ends the call, and nothing else. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { framed, Witness } from '../../harness/broker/witness.js';

const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const INVALID_ARGUMENT = '3';

let witness: Witness;
before(async () => {
  witness = await Witness.start();
});
after(() => witness.destroy());

/** A field of a wire type that there is not. */
const BAD = framed(Buffer.from([0x7f]));

test('a request of a stream that cannot be decoded ends its call with an error', async () => {
  assert.equal((await witness.call(REFLECTION, [BAD])).status, INVALID_ARGUMENT);
  await witness.served();
});

test('so does one that follows a good one', async () => {
  const list = framed(Buffer.from([0x3a, 0]));
  assert.equal((await witness.call(REFLECTION, [list, BAD])).status, INVALID_ARGUMENT);
  await witness.served();
});

test('a request of one message that cannot be decoded is answered with an error', async () => {
  const answer = await witness.call('/grpc.health.v1.Health/Check', [BAD]);
  assert.equal(answer.status, INVALID_ARGUMENT);
  assert.match(answer.message, /^the request cannot be decoded: /);
  await witness.served();
});
