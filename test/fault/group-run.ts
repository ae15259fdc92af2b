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
  /** Each kind of fault is done at least so often, however long that takes. */
  readonly timesMin: number;
  /** Between two faults, at most. */
  readonly pauseMs: number;
  readonly commitTimeoutMs: number;
  readonly memberTimeoutMs: number;
  /** Bound of the broker's log. */
  readonly logBytesMax?: string;
}

const SLICES = 16;
const COMMIT_MS = 150;
const STDERR_CHARACTERS_SHOWN = 4_000;
/** No lag to speak of; how often it is looked at, and until when. */
const LAG_MS = 1_000;
const LAG_LOOK_MS = 200;
const LAG_LOOKS_MAX = 300;

export async function runGroupFaults(run: GroupRun): Promise<Outcome> {
  const { seed, members: count, commitTimeoutMs, memberTimeoutMs } = run;
  const beganMs = performance.now();
  const history: string[] = [];
  const note = (text: string) => history.push(`${((performance.now() - beganMs) / 1000).toFixed(1)} s: ${text}`);
  const cluster = await Cluster.start({
    BACKPLANE_GROUP_COMMIT_TIMEOUT: `${commitTimeoutMs}ms`,
    BACKPLANE_GROUP_MEMBER_TIMEOUT: `${memberTimeoutMs}ms`,
    // No power is cut, so what a cut could take need not be noted.
    NODE_OPTIONS: '',
    ...(run.logBytesMax === undefined ? {} : { BACKPLANE_LOG_BYTES_MAX: run.logBytesMax }),
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
      await cluster.agent({ name, nodes, eventsPerSecond, unguarded: true });
    }
    const nodes = cluster.agents.flatMap(({ recorders }) => [...recorders.keys()]);
    for (const member of members) member.start();
    await until(
      'events of each node',
      () => nodes.every((node) => reached(members, node) >= 0),
      () => progress(members),
    );
    note('all nodes deliver');
    const [firstMs, first] = [performance.now(), sumReached(members, nodes)];
    const watch = watchLag(cluster);
    const times = await fault(run, cluster, members, new Random(seed), note);
    const upTo = new Map(nodes.map((node) => [node, reached(members, node) + run.eventsPerSecondAndNode]));
    const behind = () => nodes.filter((node) => reached(members, node) < upTo.get(node)!);
    note(`the faults are over: ${JSON.stringify(times)}, ${await lag(cluster)}`);
    await until(
      'everybody to catch up',
      () => behind().length === 0,
      () => progress(members),
    );
    const events = sumReached(members, nodes) - first;
    const seconds = (performance.now() - firstMs) / 1000;
    const perSecond = Math.round(events / seconds);
    note(`everybody has caught up: ${events} events in ${seconds.toFixed(1)} s, ${perSecond} a second`);
    note(await lag(cluster));
    note(`the lag is ${await gone(cluster)}, it was ${watch.end()}`);
    await Promise.all(members.map((member) => member.end('SIGTERM')));
    const lines = members.map((member) => ({ name: member.name, lines: member.lines() }));
    const { violations, ...sums } = findings(lines, SLICES, upTo);
    note(`${JSON.stringify(sums)}, after the members' last commits ${await lag(cluster)}`);
    for (const member of members) note(`member ${member.name}: ${member.starts} starts ${member.stderr.slice(-300)}`);
    return { violations: [...violations, ...members.flatMap(({ unexpected }) => unexpected)], history };
  } catch (cause) {
    for (const { name, stderr } of [...members, cluster.broker])
      history.push(`${name} said: ${stderr.slice(-STDERR_CHARACTERS_SHOWN)}`);
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

/** Events that somebody processed, as each node's come in order. */
function sumReached(members: readonly MemberProcess[], nodes: readonly string[]): number {
  return nodes.reduce((sum, node) => sum + reached(members, node) + 1, 0);
}

async function lagOf(cluster: Cluster): Promise<{ readonly events: number; readonly ageMs: number }> {
  const answer = await cluster.get('/v1/groups/work');
  const { group } = (await answer.json()) as { group: { lagEvents: string; lagSince?: string } };
  const ageMs = group.lagSince === undefined ? 0 : Date.now() - Date.parse(group.lagSince);
  return { events: Number(group.lagEvents), ageMs };
}

async function lag(cluster: Cluster): Promise<string> {
  const { events, ageMs } = await lagOf(cluster);
  return `lag ${events} events, the oldest for ${(ageMs / 1000).toFixed(1)} s in the log`;
}

/** The largest lag of all looks at it; while the broker is away there are none. */
function watchLag(cluster: Cluster): { end(): string } {
  let [events, ageMs] = [0, 0];
  const look = async () => {
    const now = await lagOf(cluster);
    events = Math.max(events, now.events);
    ageMs = Math.max(ageMs, now.ageMs);
  };
  const timer = setInterval(() => void look().catch(() => undefined), LAG_LOOK_MS).unref();
  return {
    end() {
      clearInterval(timer);
      return `${events} events at most, the oldest for ${(ageMs / 1000).toFixed(1)} s in the log at most`;
    },
  };
}

/** Whether members that nobody disturbs get as far as the log: for the account, as a crowded machine may need long. */
async function gone(cluster: Cluster): Promise<string> {
  for (let looks = 0; looks < LAG_LOOKS_MAX; looks++) {
    if ((await lagOf(cluster)).ageMs < LAG_MS) return 'gone';
    await sleep(LAG_LOOK_MS);
  }
  return 'still there';
}

function progress(members: readonly MemberProcess[]): string {
  return members
    .map((member) => `${member.name}: ${member.lines().length} lines ${member.stderr.slice(-100)}`)
    .join('; ');
}

/** Every kind comes once, in random order, before any comes again. Returns how often each was done. */
async function fault(
  run: GroupRun,
  cluster: Cluster,
  members: readonly MemberProcess[],
  random: Random,
  note: (text: string) => void,
): Promise<Record<GroupFault, number>> {
  const endsMs = performance.now() + run.durationMs;
  const times = { kill: 0, stop: 0, slow: 0, broker: 0 };
  const acts = new Set<Promise<void>>();
  const busy = new Set<MemberProcess>();
  let left: GroupFault[] = [];
  while (performance.now() < endsMs || Math.min(...Object.values(times)) < run.timesMin) {
    if (left.length === 0) left = [...GROUP_FAULTS];
    const kind = random.pick(left);
    left.splice(left.indexOf(kind), 1);
    const idle = members.filter((member) => !busy.has(member));
    const member = idle.length > 1 ? random.pick(idle) : undefined;
    if (kind === 'broker' || member === undefined) {
      times.broker++;
      note('the broker is killed');
      await cluster.broker.end('SIGKILL');
      cluster.broker.start();
      await cluster.broker.serving();
    } else {
      times[kind]++;
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
  return times;
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
    await member.beSlow();
    await sleep(run.commitTimeoutMs + 1_500);
  }
}
