/**
 * How soon a group's slices are with other members when one leaves, is killed and hangs: eight members as processes of
 * their own, with the broker's own settings, 16 nodes, events all the time. Counted from the signal to the moment in which
 * the last of its slices was assigned to another, and to the first event of each of them.
 *
 *   node dist/bench/scenarios/group.js [ROUNDS] [EVENTS_PER_SECOND]
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sliceOf } from '../../src/broker/groups/slice.js';
import { Cluster } from '../../test/harness/cluster/driver.js';
import { MemberProcess } from '../../test/harness/groups/members.js';
import { until } from '../../test/harness/until.js';
import { median, report, round } from '../measuring/report.js';

const ROUNDS = Number(process.argv[2] ?? 5);
const EVENTS_PER_SECOND = Number(process.argv[3] ?? 1_600);
const MEMBERS = 8;
const NODES = 16;
const SETTLED_MS = 1_500;
/** Slices that have nodes. */
const BUSY = new Set(Array.from({ length: NODES }, (_, at) => sliceOf(`node-${String(at + 1).padStart(4, '0')}`, 16)));

const cluster = await Cluster.start();
const dir = join(cluster.dir, 'members');
mkdirSync(dir);
const options = { broker: cluster.grpc, brokerDir: cluster.brokerDir, group: 'bench', dir, commitMs: 150, slowMs: 0 };
const members = Array.from({ length: MEMBERS }, (_, at) => new MemberProcess(String(at), options));
try {
  await cluster.agent({ name: 'node', nodes: NODES, eventsPerSecond: EVENTS_PER_SECOND / NODES, unguarded: true });
  for (const member of members) member.start();
  await until('even shares', () => members.every((member) => held(member).size === 2), shares);
  const rows = [];
  for (const [what, signal] of [
    ['left', 'SIGTERM'],
    ['killed', 'SIGKILL'],
    ['stopped', 'SIGSTOP'],
  ] as const) {
    const assigned: number[] = [];
    const delivered: number[] = [];
    for (let at = 0; at < ROUNDS; at++) {
      await sleep(SETTLED_MS);
      const member = members[at % MEMBERS]!;
      const lost = [...held(member).keys()];
      const others = members.filter((other) => other !== member);
      const beganMs = Date.now();
      if (signal === 'SIGSTOP') member.signal(signal);
      else await member.end(signal);
      const first = (kind: 'a' | 'd', slice: number) =>
        Math.min(
          ...others.flatMap((other) =>
            other
              .lines()
              .flatMap((line) => (line.kind === kind && line.slice === slice && line.ms >= beganMs ? line.ms : [])),
          ),
        );
      const all = (kind: 'a' | 'd', slices: readonly number[]) =>
        Math.max(...slices.map((slice) => first(kind, slice)));
      await until('the slices to be with others', () => Number.isFinite(all('a', lost)), shares);
      assigned.push(all('a', lost) - beganMs);
      // A slice without a node has no events.
      const busy = lost.filter((slice) => BUSY.has(slice));
      await until('their events', () => busy.length === 0 || Number.isFinite(all('d', busy)), shares);
      if (busy.length > 0) delivered.push(all('d', busy) - beganMs);
      if (signal === 'SIGSTOP') member.signal('SIGCONT');
      else member.start();
      await until('even shares', () => members.every((each) => held(each).size === 2), shares);
    }
    rows.push({
      member: what,
      'assigned, median s': seconds(assigned),
      'worst s': round(Math.max(...assigned) / 1000, 2),
      'first events, median s': seconds(delivered),
    });
  }
  report('a group of 8: until the slices of one are with others', rows, {
    rounds: ROUNDS,
    eventsPerSecond: EVENTS_PER_SECOND,
  });
} finally {
  await Promise.all(members.map((member) => member.end('SIGKILL')));
  await cluster.destroy();
}

/** The slices that a member has, as it knows them, with their epochs. */
function held(member: MemberProcess): Map<number, number> {
  const slices = new Map<number, number>();
  const newest = new Map<number, number>();
  for (const each of members) {
    for (const line of each.lines()) {
      if (line.kind === 'a') newest.set(line.slice, Math.max(line.epoch, newest.get(line.slice) ?? 0));
    }
  }
  for (const line of member.lines()) {
    if (line.kind === 'a' && newest.get(line.slice) === line.epoch) slices.set(line.slice, line.epoch);
    if (line.kind === 'r' && slices.get(line.slice) === line.epoch) slices.delete(line.slice);
  }
  return slices;
}

function shares(): string {
  return members.map((member) => `${member.name}: ${[...held(member).keys()]}`).join('; ');
}

function seconds(times: readonly number[]): number {
  return round(median(times) / 1000, 2);
}
