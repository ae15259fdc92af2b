/** What a power cut may lose, as real servers say by their monitoring. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DurabilityWatch } from '../../../../src/broker/nats/monitoring/durability.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const LOSES = 'a power cut may lose these (commits, audit, budgets, app events)';

async function said(...monitors: string[]): Promise<string> {
  const watch = new DurabilityWatch({ monitors });
  await watch.look();
  watch.close();
  return watch.text;
}

for (const version of IS_LONG ? (['newest', 'floor'] as const) : (['newest'] as const)) {
  test(`it is always only where every server says so (${version})`, { skip: needsNats(version) }, async () => {
    const both = await Promise.all([true, false].map((syncsAlways) => NatsServers.start({ syncsAlways, version })));
    const [always, late] = both.map(({ first }) => first.monitorUrl) as [string, string];
    try {
      assert.equal(await said(), `unknown: ${LOSES}`);
      assert.equal(await said(always), 'always');
      assert.equal(await said(always, late), `every 2m: ${LOSES}`);
      await both[1]!.destroy();
      const away = await said(always, late);
      assert.ok(away.startsWith(`unknown: ${LOSES}; ${late}: `), away);
      const watch = new DurabilityWatch({ monitors: [late] });
      await watch.look();
      watch.close();
      assert.equal(watch.summary, `unknown: ${LOSES}`, 'without the address: anybody may read it');
    } finally {
      await Promise.all(both.map((servers) => servers.destroy()));
    }
  });
}

test('of three servers all have to be named', {
  skip: needsNats() || (!IS_LONG && 'only with BACKPLANE_TEST_FACTOR'),
}, async () => {
  const servers = await NatsServers.start({ count: 3, syncsAlways: true });
  try {
    const [one, two, three] = servers.servers.map(({ monitorUrl }) => monitorUrl) as [string, string, string];
    assert.equal(await said(one, two), `unknown: ${LOSES}; nats.monitor names 2 of 3 servers`);
    assert.equal(await said(one, two, three), 'always');
  } finally {
    await servers.destroy();
  }
});
