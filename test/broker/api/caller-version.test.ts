/** Commands say their version with each call; a broker more than one minor version apart refuses them. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Client } from '../../../src/client/client.js';
import { BackplaneError } from '../../../src/errors.js';
import { packageVersion } from '../../../src/package-files.js';
import { Harness } from '../../harness/broker/harness.js';
import { run } from '../../harness/bus/command.js';

let harness: Harness;
beforeEach(async () => {
  harness = new Harness();
  harness.version = '7.4.2';
  await harness.startBroker();
});
afterEach(() => harness.destroy());

test('every command that is two minor versions apart is refused with one sentence that names both', async () => {
  const env = { BACKPLANE_BROKERS: harness.broker.grpcAddress };
  const publish = ['publish', 'app.x', '--body', '1'];
  for (const args of [['observe', '--follow'], ['observe', '--last', '1'], ['nodes'], ['groups'], publish]) {
    const { code, out, err } = await run(args, env);
    assert.equal(code, 2, err);
    assert.equal(out, '');
    assert.equal(
      err.replace(/^-- .*\n/, ''),
      `backplane: this command is of version ${packageVersion()}, the broker of 7.4.2: ` +
        'only versions that are at most one minor version apart work together\n',
    );
  }
});

test('callers one minor version older or newer are served, and those that say no version', async () => {
  const statusFor = async (version: string | undefined) => {
    const client = new Client([harness.broker.grpcAddress], undefined, { version });
    try {
      return (await client.getStatus()).version;
    } catch (cause) {
      assert.ok(cause instanceof BackplaneError);
      return `${cause.code}: ${cause.message}`;
    } finally {
      client.close();
    }
  };
  for (const version of [undefined, '7.3.9', '7.4.0', '7.5.0-rc.1']) assert.equal(await statusFor(version), '7.4.2');
  for (const version of ['7.2.9', '7.6.0', '8.4.2', '6.4.2', '7.4 or so'])
    assert.match(
      await statusFor(version),
      /^failed_precondition: this command is of version .*, the broker of 7\.4\.2: /,
    );
});
