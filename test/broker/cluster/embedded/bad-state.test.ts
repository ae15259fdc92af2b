/** Files of state with whatever content. Reading them may keep a busy machine for long: nobody else is served here. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB } from '../../../../src/limits.js';
import { Harness } from '../../../harness/broker/harness.js';

const STATES: Record<string, string> = {
  garbage: '\u0000\u0001{[}',
  'deep nesting': '['.repeat(2_000_000),
  'wrong types': JSON.stringify({ version: 1, generation: 'x', claims: {}, nodes: 7 }),
  'another version': JSON.stringify({ version: 2 }),
  'numbers at their ends': JSON.stringify({ version: 1, nodes: { a: { liveBytesPerSecond: 1e308 } }, generation: -1 }),
  'much of nothing': ' '.repeat(32 * MiB),
};

for (const file of ['interest.json', 'budgets.json']) {
  test(`a broker starts whatever its file ${file} contains, and says in one line that the file was unusable`, async () => {
    const harness = await Harness.start();
    try {
      const path = join(harness.dataDir, 'broker', file);
      for (const [what, text] of Object.entries(STATES)) {
        await harness.broker.abort();
        writeFileSync(path, text);
        harness.logged.length = 0;
        await harness.startBroker();
        const warned = harness.logged.filter(({ level }) => level === 40).map(({ msg }) => msg);
        assert.equal(warned.length, 1, `${what}: ${warned}`);
        assert.ok(warned[0]!.startsWith(`${path} is damaged`) && !warned[0]!.includes('\n'), warned[0]);
      }
      await harness.broker.abort();
      // Neither read nor put aside.
      for (const name of [path, `${path}.damaged`]) rmSync(name, { force: true });
      mkdirSync(path);
      mkdirSync(join(`${path}.damaged`, 'kept'), { recursive: true });
      await harness.startBroker();
    } catch (cause) {
      rmSync(harness.dataDir, { recursive: true, force: true });
      throw cause;
    }
    await harness.destroy();
  });
}
