/**
 * Processes of an earlier build beside those of today, in every mixture that an upgrade passes through. The build is that
 * of 2b51aed8, the last commit before brokers on NATS, made from the repository's history.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { builtCommit } from '../harness/bus/built-commit.js';
import { Command, type EventLine, MAIN, Observer } from '../harness/bus/bus.js';
import { numberedEvents, sequenceNumber } from '../harness/bus/numbered.js';
import { tokenFile } from '../harness/bus/token.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

const OLD = builtCommit('2b51aed8e593afa828666ca49c1ca496fd2dffc2');
const skip = typeof OLD === 'string' && OLD;
const old = typeof OLD === 'string' ? '' : OLD.main;
const today = MAIN;

const NODES = ['upgraded', 'staying'];
const EVENTS_PER_SECOND = 100;
/** So many of each node are waited for. */
const SOME = 25;
/** Nothing is shed or masked where a busy machine makes an agent late: every number must come. */
const AGENT = {
  ...numberedEvents(EVENTS_PER_SECOND),
  BACKPLANE_AGENT_GUARD_CPU: '0',
  BACKPLANE_BUDGET_LIVE_EVENTS: '10000000',
  BACKPLANE_BUDGET_LIVE_BYTES: '1GiB',
  BACKPLANE_REDACTION_OFF: 'all',
};
/** As `observe` ends where something is missing. */
const INCOMPLETE = 4;
const ALL = ['--topic', 'process', '--since', '1h'];
/** Something else that agents are asked while they are connected: their pids are even where their numbers are. */
const EVEN = [...ALL, '--follow', '--filter', 'process.pid % 2 == 0'];

after(() => Command.killAll());

/** A broker and agents, each of which may be started again from another build. */
class Deployment {
  readonly dir = scratchDirectory('upgrade');
  readonly brokerDir = join(this.dir, 'broker-data');
  grpc = '';
  http = '';
  broker!: Command;
  readonly agents = new Map<string, Command>();

  async startBroker(main: string): Promise<void> {
    this.grpc ||= await ownAddress();
    this.http ||= await ownAddress();
    const where = { BACKPLANE_GRPC_LISTEN: this.grpc, BACKPLANE_HTTP_LISTEN: this.http };
    this.broker = this.#start('broker', { ...where, BACKPLANE_DATA_DIR: this.brokerDir }, main);
    await this.broker.says(/listening/);
  }

  startAgent(node: string, main: string): void {
    const env = { BACKPLANE_NODE_NAME: node, BACKPLANE_DATA_DIR: join(this.dir, node) };
    this.agents.set(node, this.#start('agent', { ...this.#toBroker, ...AGENT, ...env }, main));
  }

  /** From the same directory, as an installation in its place does. */
  async replaceBroker(main: string): Promise<void> {
    await stopped(this.broker);
    await this.startBroker(main);
  }

  async replaceAgent(node: string, main: string): Promise<void> {
    await stopped(this.agents.get(node)!);
    this.startAgent(node, main);
  }

  observe(main: string, ...args: string[]): Observer {
    return new Observer(this, args, 'json', main);
  }

  /** What a command prints that ends by itself, as it must: with nothing missing. */
  async ask(main: string, ...args: string[]): Promise<string> {
    const command = new Command(args, this.#toBroker, true, [], main);
    assert.equal(await command.exited, 0, `${args.join(' ')}: ${command.said}`);
    return command.stdout;
  }

  /** All that is recorded, once every node was quick enough to answer. */
  async replay(main: string): Promise<readonly EventLine[]> {
    let said = '';
    return until(
      'a replay with nothing missing',
      async () => {
        const observer = this.observe(main, ...ALL);
        const code = await observer.exited;
        said = observer.stderr;
        assert.ok(code === 0 || code === INCOMPLETE, `${code}: ${said}`);
        return code === 0 && observer.events;
      },
      () => said.match(/^.*(no answer|gap|coverage|incomplete).*$/gm),
    );
  }

  /** @param aside files that the broker was to put aside, because it cannot read them */
  async end(aside: readonly string[] = []): Promise<void> {
    for (const agent of this.agents.values()) await stopped(agent);
    await stopped(this.broker, aside.length > 0);
    const files = readdirSync(this.dir, { recursive: true, encoding: 'utf8' });
    assert.deepEqual(
      files.filter((name) => /damaged|version-/.test(name)),
      aside,
    );
  }

  get #toBroker() {
    return { BACKPLANE_BROKERS: this.grpc, BACKPLANE_TOKEN_FILE: tokenFile(this.brokerDir) };
  }

  #start(verb: string, env: NodeJS.ProcessEnv, main: string): Command {
    return new Command([verb], { BACKPLANE_LOG_LEVEL: 'warn', ...env }, true, [], main);
  }
}

/** Ends a broker or an agent, which must have understood all that it found, but for what it `putsAside`. */
async function stopped(party: Command, putsAside = false): Promise<void> {
  assert.equal(await party.stop(), 0, party.said);
  if (!putsAside) assert.doesNotMatch(party.stderr, /version|damaged|cannot be read|put aside/i);
}

/**
 * The numbers of a node in the order in which they came, as stretches without a hole: one for each start of its agent.
 * `step`: from each to the next.
 */
function stretches(events: readonly EventLine[], node: string, step = 1): (readonly [number, number])[] {
  const found: [number, number][] = [];
  for (const event of events) {
    const number = event.node === node ? sequenceNumber(event.process?.commandArgs) : undefined;
    if (number === undefined) continue;
    const last = found.at(-1);
    if (last?.[1] === number - step) last[1] = number;
    else found.push([number, number]);
  }
  return found;
}

/** Waits for so many more of each node, from behind what has happened by now. */
async function goesOn(observer: Observer): Promise<void> {
  const nowMs = Date.now();
  for (const node of NODES) {
    const later = () => observer.events.filter((event) => event.node === node && Date.parse(event.time) > nowMs).length;
    await until(
      `events of ${node}`,
      () => later() >= SOME || observer.goesOn(),
      () => `${observer.events.length} events, ${observer.stderr}`,
    );
  }
}

/** All that each node has recorded, up to its last one that is told, and nothing twice. */
function isWhole(events: readonly EventLine[], nodes: readonly string[] = NODES, step = 1): void {
  for (const node of nodes) {
    const [first, ...more] = stretches(events, node, step);
    assert.equal(first?.[0], 0, `${node} begins with ${first}`);
    assert.deepEqual(more, [], `${node} has ${first} first`);
  }
}

test('a broker is upgraded in its place, then an agent', { skip }, async () => {
  const site = new Deployment();
  await site.startBroker(old);
  for (const node of NODES) site.startAgent(node, old);
  const follower = site.observe(old, ...ALL, '--follow');
  const begun = site.observe(old, ...ALL, '--follow');
  const member = site.observe(old, ...ALL, '--follow', '--group', 'work');
  await Promise.all([follower, begun, member].map(goesOn));
  await Promise.all([begun, member].map((observer) => observer.stop('SIGINT')));
  isWhole(begun.events);

  await site.replaceBroker(today);
  const from = ['--topic', 'process', '--follow', '--cursor', begun.cursor];
  const resumed = [old, today].map((main) => site.observe(main, ...from));
  const later = site.observe(old, '--topic', 'process', '--follow', '--group', 'work');
  await Promise.all([follower, later, ...resumed].map(goesOn));
  await Promise.all([later, ...resumed].map((observer) => observer.stop('SIGINT')));
  for (const observer of resumed) isWhole([...begun.events, ...observer.events]);
  const latest = site.observe(today, '--topic', 'process', '--follow', '--group', 'work');
  const even = site.observe(old, ...EVEN);
  isWhole(await site.replay(old));
  await Promise.all([latest, even].map(goesOn));
  await Promise.all([latest, even].map((observer) => observer.stop('SIGINT')));
  isWhole(even.events, NODES, 2);
  isWhole([...member.events, ...later.events, ...latest.events]);
  isWhole(follower.events);
  assert.doesNotMatch(follower.stderr, /-- gap/);

  await site.replaceAgent('upgraded', today);
  await goesOn(follower);
  await follower.stop('SIGINT');
  // What the agent before had recorded, and from the first event of the new one on.
  const [before, since, ...more] = stretches(follower.events, 'upgraded');
  assert.deepEqual([before?.[0], since?.[0], more], [0, 0, []]);
  isWhole(follower.events, ['staying']);
  const events = await site.replay(today);
  assert.deepEqual(stretches(events, 'upgraded')[0], before);
  isWhole(events, ['staying']);
  await site.end();
});

test('an agent and clients are upgraded before their broker, which goes back again', { skip }, async () => {
  const site = new Deployment();
  await site.startBroker(old);
  site.startAgent('upgraded', today);
  site.startAgent('staying', old);
  const followers = [old, today].map((main) => site.observe(main, ...ALL, '--follow'));
  await Promise.all(followers.map(goesOn));
  const even = site.observe(today, ...EVEN);
  isWhole(await site.replay(today));
  await goesOn(even);
  await even.stop('SIGINT');
  isWhole(even.events, NODES, 2);
  await site.ask(today, 'publish', 'app.upgrade', '--body', '{"by":"today"}');
  await site.ask(today, 'groups');
  assert.match(await site.ask(today, 'nodes', '-o', 'json'), /"upgraded"/);

  await site.replaceBroker(today);
  await Promise.all(followers.map(goesOn));
  assert.match(await site.ask(old, 'nodes', '-o', 'json'), /"upgraded"/);
  assert.match(await site.ask(old, 'observe', '-o', 'json', '--topic', 'app.upgrade', '--since', '1h'), /today/);

  await site.replaceBroker(old);
  await Promise.all(followers.map(goesOn));
  for (const follower of followers) {
    await follower.stop('SIGINT');
    isWhole(follower.events);
    assert.doesNotMatch(follower.stderr, /-- gap/);
  }
  // The form of one kind of entries is newer than that build: it asks nodes anew, and takes from recorders what it lacks.
  await site.end(['broker-data/broker/interest.json.damaged']);
});
