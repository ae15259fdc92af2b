/** Nodes whose history comes beside the live stream: whoever can be asked again is, whenever that is known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeView } from '../../../src/broker/delivery/cursor/node-view.js';
import { LateNodes } from '../../../src/broker/delivery/live/late-nodes.js';
import { until } from '../../harness/until.js';

const HERE = { epoch: 1, timeNs: 1n, lane: 0, tie: 0 };

test('a node that is back before its round was seen to have failed is asked again', async () => {
  const view = new NodeView('a');
  const rounds: ((reached: boolean) => void)[] = [];
  const ending = new AbortController();
  let told = 0;
  const late = new LateNodes(
    () => HERE,
    () => new Promise((resolve) => rounds.push(resolve)),
    () => told++,
    ending.signal,
  );
  late.add(view);
  // It went and came back, while the subscriber had not read what had come before.
  late.add(view);
  rounds[0]!(false);
  await until('another round', () => rounds.length === 2);
  rounds[1]!(true);
  await until('the second of them', () => rounds.length === 3);
  rounds[2]!(true);
  await until('its history has all but met the tail', () => told === 2);
  assert.equal(await late.join(), view);
  assert.equal(view.state, 'live');
  ending.abort();
});

test('a node that failed and did not come back is not asked', async () => {
  const rounds: ((reached: boolean) => void)[] = [];
  let told = 0;
  const late = new LateNodes(
    () => HERE,
    () => new Promise((resolve) => rounds.push(resolve)),
    () => told++,
    new AbortController().signal,
  );
  late.add(new NodeView('a'));
  rounds[0]!(false);
  await until('the failure is known', () => told > 0);
  assert.equal(rounds.length, 1);
});
