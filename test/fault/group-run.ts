/**
 * One run: a group of members under load, of which some are killed, stopped or slow, and whose broker is killed, by a
 * seed. Then all that they processed is held against what a group promises, by content.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from '../harness/cluster/driver.js';
import { MemberProcess } from '../harness/groups/members.js';
import { findings } from '../harness/groups/processed.js';
import { until } from '../harness/until.js';
import type { Outcome } from './run.js';
import { Random } from './schedule.js';

const GROUP_FAULTS = ['kill', 'stop', 'slow', 'broker'] as const;
type GroupFault = (typeof GROUP_FAULTS)[number];

export interface GroupRun {
  readonly seed: number;
  readonly members: number;
  readonly agents: number;
  readonly nodesPerAgent: number;
  /** Divides 10^9. */
  readonly eventsPerSecondAndNode: number;
  readonly durationMs: number;
  /** Between two faults, at most. */
  readonly pauseMs: number;
  readonly commitTimeoutMs: number;
  readonly memberTimeoutMs: number;
}

const SLICES = 16;
const COMMIT_MS = 150;

export async function runGroupFaults(run: GroupRun): Promise<Outcome> {
  const { seed, members: count, commitTimeoutMs, memberTimeoutMs } = run;
  const beganMs = performance.now();
  const history: string[] = [];
  const note = (text: string) => history.push(`${((performance.now() - beganMs) / 1000).toFixed(1)} s: ${text}`);
  const cluster = await Cluster.start({
    BACKPLANE_GROUP_COMMIT_TIMEOUT: `${commitTimeoutMs}ms`,
    BACKPLANE_GROUP_MEMBER_TIMEOUT: `${memberTimeoutMs}ms`,
  });
  const dir = join(cluster.dir, 'members');
  mkdirSync(dir);
  const options = { broker: cluster.grpc, brokerDir: cluster.brokerDir, group: 'work', dir, commitMs: COMMIT_MS };
  // Slower than is allowed, so that what it has goes to others.
  const slowMs = commitTimeoutMs + 1_500;
  const members = Array.from({ length: count }, (_, at) => new MemberProcess(String(at), { ...options, slowMs }));
  try {
    for (let at = 0; at < run.agents; at++) {
      const name = `agent${at}`;
      const { nodesPerAgent: nodes, eventsPerSecondAndNode: eventsPerSecond } = run;
      // What members are given again comes from recorders, too, and must come faster than new events.
      await cluster.agent({ name, nodes, eventsPerSecond, historyCpuPercent: 100 });
    }
    const nodes = cluster.agents.flatMap(({ recorders }) => [...recorders.keys()]);
    for (const member of members) member.start();
    await until(
      'events of each node',
      () => nodes.every((node) => reached(members, node) >= 0),
      () => progress(members),
    );
    note('all nodes deliver');
    await fault(run, cluster, members, new Random(seed), note);
    const upTo = new Map(nodes.map((node) => [node, reached(members, node) + run.eventsPerSecondAndNode]));
    const behind = () => nodes.filter((node) => reached(members, node) < upTo.get(node)!);
    note('the faults are over');
    await until(
      'everybody to catch up',
      () => behind().length === 0,
      () => progress(members),
    );
    note('everybody has caught up');
    await Promise.all(members.map((member) => member.end('SIGTERM')));
    const lines = members.map((member) => ({ name: member.name, lines: member.lines() }));
    const { violations, ...sums } = findings(lines, SLICES, upTo);
    const seconds = (performance.now() - beganMs) / 1000;
    const published = [...upTo.values()].reduce((sum, to) => sum + to + 1, 0);
    note(`${JSON.stringify(sums)}, ${Math.round(published / seconds)} events/s published`);
    for (const member of members) note(`member ${member.name}: ${member.starts} starts ${member.stderr.slice(-300)}`);
    return { violations: [...violations, ...members.flatMap(({ unexpected }) => unexpected)], history };
  } catch (cause) {
    for (const { name, stderr } of [...members, cluster.broker]) history.push(`${name} said: ${stderr.slice(-600)}`);
    return { violations: [String(cause)], history };
  } finally {
    await Promise.all(members.map((member) => member.end('SIGKILL')));
    await cluster.destroy();
  }
}

/** The last number of a node that anybody processed; -1 before the first. */
function reached(members: readonly MemberProcess[], node: string): number {
  let last = -1;
  for (const member of members) last = Math.max(last, member.reached(node));
  return last;
}

function progress(members: readonly MemberProcess[]): string {
  return members
    .map((member) => `${member.name}: ${member.lines().length} lines ${member.stderr.slice(-100)}`)
    .join('; ');
}

/** Every kind comes once, in random order, before any comes again. */
async function fault(
  run: GroupRun,
  cluster: Cluster,
  members: readonly MemberProcess[],
  random: Random,
  note: (text: string) => void,
): Promise<void> {
  const endsMs = performance.now() + run.durationMs;
  const acts = new Set<Promise<void>>();
  const busy = new Set<MemberProcess>();
  let left: GroupFault[] = [];
  while (performance.now() < endsMs || left.length > 0) {
    if (left.length === 0) left = [...GROUP_FAULTS];
    const kind = random.pick(left);
    left.splice(left.indexOf(kind), 1);
    const idle = members.filter((member) => !busy.has(member));
    const member = idle.length > 1 ? random.pick(idle) : undefined;
    if (kind === 'broker' || member === undefined) {
      note('the broker is killed');
      await cluster.broker.end('SIGKILL');
      cluster.broker.start();
      await cluster.broker.serving();
    } else {
      note(`${kind} member ${member.name}`);
      busy.add(member);
      const act = onMember(kind, member, run, random).finally(() => {
        busy.delete(member);
        acts.delete(act);
      });
      acts.add(act);
    }
    await sleep(random.between(run.pauseMs / 3, run.pauseMs));
  }
  await Promise.all(acts);
}

async function onMember(kind: GroupFault, member: MemberProcess, run: GroupRun, random: Random): Promise<void> {
  if (kind === 'kill') {
    await member.end('SIGKILL');
    await sleep(random.between(0, 1_000));
    member.start();
  } else if (kind === 'stop') {
    // For longer or shorter than the broker waits.
    member.signal('SIGSTOP');
    await sleep(random.between(run.memberTimeoutMs / 2, 2 * run.memberTimeoutMs));
    member.signal('SIGCONT');
  } else {
    member.signal('SIGUSR2');
    await sleep(run.commitTimeoutMs + 1_500);
  }
}
