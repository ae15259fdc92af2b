/** CPU shares that several meters of one process report. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpuMeter } from '../../../src/sensor-agent/uplink/node-report.js';

test("two meters of one process do not consume each other's measurements", () => {
  const [first, second] = [new CpuMeter(), new CpuMeter()];
  // Both measure from the start of the process: what one has read, the other still has to.
  const [a, b] = [first.ratio(), second.ratio()];
  assert.ok(a > 0);
  assert.ok(Math.abs(a - b) < a / 2, `${a} and ${b}`);
});
