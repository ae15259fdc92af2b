/**
 * What docs/cluster.md says of servers of NATS that are replaced, added and upgraded, done under load: of what nodes record
 * and what is published no event is missing, none comes twice. With BACKPLANE_TEST_FACTOR: lame ducks take ten seconds each.
 */
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { Command, Observer } from '../harness/bus/bus.js';
import { type Outcome, run } from '../harness/bus/command.js';
import { numberedEvents, sequenceNumber } from '../harness/bus/numbered.js';
import { tokenFile } from '../harness/bus/token.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { type NatsVersion, natsProgram, needsNats } from '../harness/nats/nats-package.js';
import { type NatsServer, NatsServers } from '../harness/nats/nats-servers.js';
import { ownAddress } from '../harness/own-address.js';
import { runs } from '../harness/runs.js';
import { until } from '../harness/until.js';

const NODES = ['a', 'b', 'c'];
const EVENTS_PER_SECOND = 50;
/** Of each node, that everything goes on. */
const MORE = 100;
const STREAMS = 13;

const skip = runs(1) < 2 ? 'only with BACKPLANE_TEST_FACTOR' : needsNats() || needsNats('floor');

after(() => Command.killAll());

/** Three servers, two brokers, three nodes, and a subscriber to all that they record and to what is published. */
class Loaded {
  readonly servers: NatsServers;
  readonly #flags: readonly string[];
  #env: Readonly<Record<string, string>> = {};
  readonly #brokers: Command[] = [];
  #subscriber!: Observer;
  #published = 0;

  static async start(version: NatsVersion): Promise<Loaded> {
    const settings = async () => 'lame_duck_duration: "30s"';
    const loaded = new Loaded(await NatsServers.start({ count: 3, version, syncsAlways: true, settings }));
    await loaded.#start();
    return loaded;
  }

  private constructor(servers: NatsServers) {
    this.servers = servers;
    this.#flags = ['--nats', servers.urls, '--cluster', 'prod'];
  }

  async #start(): Promise<void> {
    const made = await run(['cluster', 'init', ...this.#flags, '--log-bytes-max', '512MiB']);
    assert.equal(made.code, 0, made.err);
    const brokers: { readonly grpc: string; readonly dir: string }[] = [];
    for (const _ of [1, 2]) {
      const [grpc, dir] = [await ownAddress(), scratchDirectory('broker')];
      if (brokers[0] !== undefined) copyFileSync(tokenFile(brokers[0].dir), tokenFile(dir));
      const listen = ['--grpc-listen', grpc, '--http-listen', await ownAddress(), '--data-dir', dir];
      const broker = new Command(['broker', ...listen, ...this.#flags]);
      this.#brokers.push(broker);
      await broker.says(/^listening on /m);
      brokers.push({ grpc, dir });
    }
    const grpc = brokers.map((broker) => broker.grpc).join(',');
    const brokerDir = brokers[0]!.dir;
    this.#env = { BACKPLANE_BROKERS: grpc, BACKPLANE_TOKEN_FILE: tokenFile(brokerDir) };
    for (const node of NODES) {
      const args = ['agent', '--node-name', node, '--data-dir', scratchDirectory(node)];
      new Command(args, { ...this.#env, ...numberedEvents(EVENTS_PER_SECOND) });
    }
    const asks = ['--follow', '--since', '1h', '--topic', 'process', '--topic', 'app.steps'];
    this.#subscriber = new Observer({ grpc, brokerDir }, asks, 'jsonpb');
    await this.goesOn();
  }

  check(): Promise<Outcome> {
    return run(['cluster', 'check', ...this.#flags]);
  }

  /** Every stream is on every server, and has all that its leader has. */
  async untilCurrent(): Promise<void> {
    let said = '';
    const isCurrent = async () => {
      const { code, out, err } = await this.check();
      said = `${out}${err}`;
      return code === 0;
    };
    await until('all replicas to be current', isCurrent, () => [said, this.#subscriber.events.length]);
  }

  /** What is recorded from now on arrives, and what is published now. */
  async goesOn(): Promise<void> {
    const wanted = new Map(NODES.map((node) => [node, this.numbersOf(node).length + MORE]));
    const behind = () => NODES.filter((node) => this.numbersOf(node).length < wanted.get(node)!);
    await until('events of every node', () => behind().length === 0 || this.#subscriber.goesOn(), this.#seen);
    const published = await run(['publish', 'app.steps', '--body', `{"step":${this.#published}}`], this.#env);
    assert.equal(published.code, 0, published.err);
    this.#published += 1;
    await until('what was published', () => this.steps().length >= this.#published, this.#seen);
  }

  numbersOf(node: string): number[] {
    const own = this.#subscriber.events.filter((event) => event.node === node && event.topic === 'process');
    return own.flatMap(({ process }) => sequenceNumber(process?.commandArgs) ?? []);
  }

  steps(): number[] {
    const bodies = this.#subscriber.events.filter(({ topic }) => topic === 'app.steps');
    return bodies.map((event) => (event as unknown as { app: { body: { step: number } } }).app.body.step);
  }

  /** All that there was came once and in order, no gap is told, and no broker saw that NATS lost what it had acknowledged. */
  holds(): void {
    for (const node of NODES) {
      const numbers = this.numbersOf(node);
      assert.deepEqual(
        numbers,
        [...numbers.keys()].map((at) => at + numbers[0]!),
        node,
      );
    }
    assert.deepEqual(this.steps(), [...Array(this.#published).keys()]);
    assert.deepEqual(this.#subscriber.gaps, []);
    for (const { stderr } of this.#brokers) assert.doesNotMatch(stderr, /went back in time|nobody can send it again/);
  }

  readonly #seen = () => [this.#subscriber.events.length, this.#subscriber.stderr];
}

/** Its machine is lost, and comes back with nothing but its name. */
async function replaced(loaded: Loaded, server: NatsServer): Promise<void> {
  await server.kill();
  // NATS calls it away at once where it ended by itself, and minutes after it was killed.
  const lacking = new RegExp(`: its replica on ${server.name} is (away|not current)$`, 'gm');
  const isAway = async () => (await loaded.check()).out.match(lacking)?.length === STREAMS;
  await until('that it is away', isAway, () => loaded.numbersOf('a').length);
  assert.equal((await loaded.check()).code, 1);
  await loaded.goesOn();
  server.empty();
  server.start();
  await server.ready('server');
  await loaded.untilCurrent();
}

test('a server comes back under its name with an empty store: then another one may go', { skip }, async (t) => {
  const loaded = await Loaded.start('newest');
  t.after(() => loaded.servers.destroy());
  const [first, second] = loaded.servers.servers;
  await replaced(loaded, second!);
  // What only the other two had is on the replaced one, too.
  await replaced(loaded, first!);
  await loaded.goesOn();
  loaded.holds();
});

test('servers are upgraded one by one, from the oldest version that brokers take to the newest', {
  skip,
}, async (t) => {
  const loaded = await Loaded.start('floor');
  t.after(() => loaded.servers.destroy());
  for (const server of loaded.servers.servers) {
    await server.lameDuck();
    await loaded.goesOn();
    server.become('newest');
    server.start();
    await server.ready('server');
    await loaded.untilCurrent();
    await loaded.goesOn();
  }
  loaded.holds();
  const versions = (await loaded.check()).out.match(/(?<=^nats-server at .*: )[\d.]+$/gm);
  assert.deepEqual(
    versions,
    loaded.servers.servers.map(() => natsProgram().version),
  );
});
