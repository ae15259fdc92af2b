/** Checks what must hold after any faults, by comparing contents. Returns the violations. */

import type { FaultContext } from '../../fault/party-faults.js';
import { LANES } from '../cluster/party.js';
import type { Subscriber } from '../cluster/subscriber.js';
import type { System } from '../cluster/system.js';
import { type ToldGap, unaccounted } from './ledger.js';
import type { StatedGap } from './received.js';
import type { Recorded } from './recorded.js';
import { wronglyThrottled } from './throttled.js';

const MISSING_SHOWN = 5;
/** Far above what either needs (an agent 100 MiB, a broker 150), far below what either would take without bounds. */
const RSS_BYTES_MAX = 384 * 1024 * 1024;
/** Coverage is stated in wall time, by the millisecond. */
const STATED_SLACK_NS = 5_000_000;

/** `untilNs`: boot clock; every subscriber is known to be beyond it. */
export function violations(
  cluster: System,
  { recorded, lossy, failures }: Pick<FaultContext, 'recorded' | 'lossy' | 'failures'>,
  untilNs: number,
): string[] {
  const found = [...failures];
  for (const party of cluster.parties) {
    found.push(...party.unexpected);
    if (party.rssBytesMax > RSS_BYTES_MAX)
      found.push(`${party.name} had ${party.rssBytesMax} bytes resident, at most ${RSS_BYTES_MAX}`);
  }
  for (const subscriber of cluster.subscribers) learn(recorded, subscriber);
  for (const agent of cluster.agents) {
    for (const node of agent.recorders.keys()) {
      const runs = recorded.runs(node);
      if (runs.size > agent.starts) found.push(`${node} has ${runs.size} runs, and was started ${agent.starts} times`);
      for (const subscriber of cluster.subscribers) {
        if (!subscriber.wants(node) || subscriber.asks.throttleMs) continue;
        found.push(...incomplete(subscriber, recorded, node, agent.periodNs, untilNs));
        if (lossy.log || lossy.nodes.has(node)) continue;
        found.push(...unaccounted(subscriber, recorded, node, agent.periodNs, lossy.ends));
      }
    }
  }
  const all = cluster.subscribers.find(({ asks }) => asks.timed && !asks.throttleMs);
  for (const subscriber of cluster.subscribers) {
    const { name, received, asks } = subscriber;
    if (asks.throttleMs && all && !lossy.log) found.push(...wronglyThrottled(subscriber, all));
    found.push(...received.faults.map((fault) => `${name}: ${fault}`));
    for (const gap of received.gaps) {
      if (!lossy.log && !lossy.nodes.has(gap.node)) found.push(`${name} was told of a gap: ${JSON.stringify(gap)}`);
    }
  }
  return found;
}

/** Adds what a subscriber received live although it was never recorded, or was damaged before it was read here. */
function learn(recorded: Recorded, { received }: Subscriber): void {
  for (const [node, { runs }] of received.nodes) {
    for (const [start, numbers] of runs) {
      // The last number of each lane.
      for (let number = numbers.max; number > numbers.max - LANES && number >= 0; number -= 1)
        if (numbers.has(number)) recorded.saw(recorded.runs(node), start, number);
    }
  }
}

/** Events of the node that were neither received nor stated as gone. */
function incomplete(
  subscriber: Subscriber,
  recorded: Recorded,
  node: string,
  periodNs: number,
  untilNs: number,
): string[] {
  const { name, received, ledger, asks } = subscriber;
  const had = received.nodes.get(node);
  if (had === undefined) return [`${name} received nothing of ${node}`];
  const told = [...received.gaps, ...received.notRefilled, ...(asks.refill ? [] : ledger.told.map(statedGap))];
  const gaps = told.filter((gap) => gap.node === '' || gap.node === node);
  const missing: string[] = [];
  let count = 0;
  for (const [start, lanes] of recorded.runs(node)) {
    const numbers = had.runs.get(start);
    for (const [lane, last] of lanes.entries()) {
      for (let number = lane; number <= last; number += LANES) {
        const timeNs = start + number * periodNs;
        if (timeNs > untilNs) break;
        if (!subscriber.wantsNumber(number)) continue;
        if (numbers?.has(number) || stated(gaps, timeNs)) continue;
        count += 1;
        if (missing.length < MISSING_SHOWN) missing.push(`${number} at ${timeNs}`);
      }
    }
  }
  if (count === 0) return [];
  const given = gaps.length === 0 ? 'no gap was stated' : `gaps stated: ${JSON.stringify(gaps.slice(0, 10))}`;
  return [`${name}: ${count} events of ${node} are missing (${missing.join(', ')}, ...); ${given}`];
}

function stated(gaps: readonly StatedGap[], timeNs: number): boolean {
  return gaps.some(
    ({ fromNs, toNs }) =>
      (fromNs === undefined || fromNs - STATED_SLACK_NS <= timeNs) &&
      (toNs === undefined || timeNs <= toNs + STATED_SLACK_NS),
  );
}

function statedGap({ node, from, to, reason }: ToldGap): StatedGap {
  return { node, fromNs: from[0], toNs: to[0], reason };
}
