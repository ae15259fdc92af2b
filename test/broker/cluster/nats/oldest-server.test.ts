/** State on the oldest server that brokers take: with BACKPLANE_TEST_FACTOR. */
import { test } from 'node:test';
import { natsProgram, needsNats } from '../../../harness/nats/nats-package.js';
import { runs } from '../../../harness/runs.js';

const skip = runs(1) < 2 ? 'only with BACKPLANE_TEST_FACTOR' : needsNats('floor');
if (skip === false) {
  // It goes before the newest.
  process.env.BACKPLANE_NATS_SERVER = natsProgram('floor').program;
  await import('./nats-state.test.js');
} else test('the oldest server', { skip }, () => undefined);
