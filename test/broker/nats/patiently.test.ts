/** What passes by itself is asked again, anything else is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patiently } from '../../../src/broker/nats/patiently.js';
import { BackplaneError } from '../../../src/errors.js';

const fault = (message: string, code?: number) => Object.assign(new Error(message), code === undefined ? {} : { code });

test('servers that have just started are asked again', async () => {
  const failures = [
    fault('timeout'),
    fault('no suitable peers for placement, peer offline', 10005),
    fault('JetStream system temporarily unavailable', 10008),
    new BackplaneError('unavailable', 'stream BP_c_0 cannot be looked at: timeout'),
  ];
  assert.equal(
    await patiently(async () => {
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return 'made';
    }),
    'made',
  );
});

test('what does not pass is told at once, what lasts at the end', async () => {
  for (const lasts of [
    fault('no suitable peers for placement, insufficient storage', 10005),
    fault('stream name already in use', 10058),
    new BackplaneError('failed_precondition', 'it was in use'),
  ]) {
    let asked = 0;
    const ask = async () => {
      asked += 1;
      throw lasts;
    };
    await assert.rejects(patiently(ask), lasts);
    assert.equal(asked, 1);
  }
  const passes = fault('timeout');
  await assert.rejects(
    patiently(async () => {
      throw passes;
    }, 0),
    passes,
  );
});
