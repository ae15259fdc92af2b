/** Which topics a live budget sheds, and when they come back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUDGET_BURST_BYTES_MIN } from '../../../src/limits.js';
import { LiveBudget } from '../../../src/sensor-agent/publish/budget.js';

const RATES = { bytesPerSecond: 1_000_000, eventsPerSecond: 1_000, burstMs: 2_000 };

test('topics are shed in the order of their classes, process last', () => {
  const nowMs = 0;
  const budget = new LiveBudget(RATES, () => nowMs);
  const order: string[] = [];
  for (let count = 0; count < 3_000; count += 1) {
    for (const topic of ['syscall', 'file', 'network', 'security', 'process']) {
      if (budget.admits(topic)) budget.charge(100, 1);
      else if (!order.includes(topic)) order.push(topic);
    }
  }
  assert.deepEqual(order, ['syscall', 'file', 'network', 'security', 'process']);
});

test('a shed topic returns for a stretch of time, not for a single event', () => {
  let nowMs = 0;
  const budget = new LiveBudget(RATES, () => nowMs);
  while (budget.admits('process')) budget.charge(100, 1);
  nowMs += 990;
  assert.equal(budget.admits('process'), false, 'there is room, but its subscribers would be told too often');
  nowMs += 10;
  let stretch = 0;
  for (; budget.admits('process'); stretch += 1) budget.charge(100, 1);
  assert.ok(stretch > 100, `${stretch} events`);
});

test('at any rate, however low, the largest event can be sent eventually', () => {
  let nowMs = 0;
  const budget = new LiveBudget({ bytesPerSecond: 1, eventsPerSecond: 1, burstMs: 1 }, () => nowMs);
  assert.equal(budget.admits('syscall'), true);
  budget.settle(BUDGET_BURST_BYTES_MIN, 0);
  assert.equal(budget.admits('syscall'), false);
  nowMs += BUDGET_BURST_BYTES_MIN * 1000;
  assert.equal(budget.admits('syscall'), true);
});

test('an overdrawn budget is insolvent until enough time has passed', () => {
  let nowMs = 0;
  const budget = new LiveBudget({ bytesPerSecond: 1_000, eventsPerSecond: 10, burstMs: 1_000 }, () => nowMs);
  assert.ok(budget.solvent);
  // Coverage is sent whether or not there is room for an event.
  budget.settle(100 * 1024, 0);
  assert.ok(!budget.solvent);
  nowMs += 60_000;
  assert.ok(budget.solvent);
});

test('the demand is what was to be sent since the last question, by the clock that the budget was given', () => {
  let nowMs = 5_000;
  const budget = new LiveBudget(RATES, () => nowMs);
  const charged = budget.charge(1_000, 1) + budget.charge(3_000, 1);
  nowMs += 2_000;
  assert.equal(budget.takeDemand(), charged / 2);
  nowMs += 1_000;
  assert.equal(budget.takeDemand(), 0);
});
