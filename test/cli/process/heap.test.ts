/** The young generation of V8's heap stays small, unless a broker has a crowd of connections. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

const HEAP = new URL('../../../src/cli/process/heap.js', import.meta.url).href;

/** Fills the young generation again and again with what is in use, and says how large it is then. */
const PROGRAM = `
const { getHeapSpaceStatistics } = require('node:v8');
import(${JSON.stringify(HEAP)}).then(({ setUpServer, fitYoungGeneration }) => {
  setUpServer();
  const sizes = [0, 99, 100].map((connections) => {
    fitYoungGeneration(connections);
    let used = [];
    for (let at = 0; at < 400_000; at++) {
      used.push({ at });
      if (used.length === 50_000) used = [];
    }
    return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size;
  });
  console.log(JSON.stringify(sizes));
});
`;

test('the young generation grows only for a crowd of connections', () => {
  const text = execFileSync(process.execPath, ['-e', PROGRAM], { encoding: 'utf8' });
  const [none, few, many] = JSON.parse(text) as [number, number, number];
  // V8 may have made it smaller again.
  assert.ok(few <= none, text);
  assert.ok(many >= 2 * few, text);
});
