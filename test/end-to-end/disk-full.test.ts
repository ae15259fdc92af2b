/** The disk of a node's recorder is full: its status says so at once, a replay over it is incomplete, an event tells of it. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MiB } from '../../src/limits.js';
import { Command, type EventLine, Observer } from '../harness/bus/bus.js';
import { bearer, tokenFile } from '../harness/bus/token.js';
import { cannotMount, type SmallDisk, withSmallDisk } from '../harness/cluster/small-disk.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

after(() => Command.killAll());

const NO_ROOM = '"nothing is recorded: no space in ';

/** A broker, and an agent whose data directory is on the small disk. */
class SmallNode {
  readonly brokerDir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  readonly #broker: Command;
  #agent: Command | undefined;

  private constructor(
    readonly grpc: string,
    readonly http: string,
  ) {
    this.#broker = new Command(['broker'], {
      BACKPLANE_DATA_DIR: this.brokerDir,
      BACKPLANE_GRPC_LISTEN: grpc,
      BACKPLANE_HTTP_LISTEN: http,
      BACKPLANE_LOG_LEVEL: 'warn',
    });
  }

  /** Resolves when events of the node can be replayed. The agent is started while the disk is full. */
  static async start(disk: SmallDisk): Promise<SmallNode> {
    const small = new SmallNode(await ownAddress(), await ownAddress());
    const broker = small.#broker;
    await until('a broker', () => existsSync(tokenFile(small.brokerDir)) || broker.goesOn());
    await until('that answers', async () => (await small.#get('/readyz')) ?? broker.goesOn());
    disk.fill();
    const agent = new Command(['agent'], {
      BACKPLANE_DATA_DIR: disk.dir,
      BACKPLANE_BROKERS: small.grpc,
      BACKPLANE_TOKEN_FILE: tokenFile(small.brokerDir),
      BACKPLANE_NODE_NAME: 'small',
      BACKPLANE_SOURCE: 'synthetic',
      BACKPLANE_SYNTHETIC_RATE: '200',
      BACKPLANE_LOG_LEVEL: 'warn',
    });
    small.#agent = agent;
    await until('it says why it records nothing', () => agent.stderr.includes(NO_ROOM) || agent.goesOn());
    disk.free();
    await until('the node has recorded', async () => {
      const seen = (await small.listed()) && (await small.replay('--topic', 'process', '--last', '5'));
      return seen && seen.events.length === 5;
    });
    return small;
  }

  #get(path: string): Promise<string | undefined> {
    return fetch(`http://${this.http}${path}`, { headers: bearer(this.brokerDir) }).then(
      (response) => response.text(),
      () => undefined,
    );
  }

  /** The node as the broker lists it. */
  async listed(): Promise<{ name: string; degraded?: string } | undefined> {
    const text = (await this.#get('/v1/nodes')) ?? '{}';
    const { nodes = [] } = JSON.parse(text) as { nodes?: { name: string; degraded?: string }[] };
    return nodes.find(({ name }) => name === 'small') ?? this.#agent!.goesOn();
  }

  async replay(...args: string[]) {
    const observer = new Observer(this, args);
    const code = await observer.exited;
    return { code, stderr: observer.stderr, events: observer.events };
  }

  async stop(): Promise<void> {
    await this.#agent?.stop();
    await this.#broker.stop();
    rmSync(this.brokerDir, { recursive: true, force: true });
  }
}

const isFull = ({ type, notice }: EventLine) => type === 'host.degraded' && notice?.reason === 'disk_full';
const isLoss = ({ type, notice }: EventLine) => type === 'host.loss' && notice?.reason === 'disk_full';

test('on a full disk an agent waits to begin; one that fills up is reported, and as a loss afterwards', {
  skip: cannotMount,
}, async () => {
  await withSmallDisk(24 * MiB, async (disk) => {
    const small = await SmallNode.start(disk);
    const healthy = await small.replay('--topic', 'process', '--since', '1h');
    assert.equal(healthy.code, 0, healthy.stderr);
    const live = new Observer(small, ['--follow', '--topic', 'host', '--topic', 'process']);
    await live.sees(({ topic }) => topic === 'process');

    disk.fill();
    await until('its status says so', async () => /no space for the log/.test((await small.listed())?.degraded ?? ''));
    await until('subscribers are told', () => /small.*no space for the log/.test(live.stderr) || live.goesOn());
    await live.sees(isFull);
    const during = await small.replay('--topic', 'process', '--since', '1h');
    assert.equal(during.code, 4, during.stderr);
    assert.match(during.stderr, /disk_full/);

    disk.free();
    let shown = '';
    await until(
      'it is over',
      async () => {
        shown = (await small.listed())?.degraded ?? '';
        return !shown.includes('no space');
      },
      () => shown,
    );
    await until('an event is recorded', async () => {
      const { events } = await small.replay('--topic', 'host', '--since', '1h');
      return events.some(isFull) && events.some(isLoss);
    });
    const afterwards = await small.replay('--topic', 'process', '--since', '1h');
    assert.equal(afterwards.code, 4, afterwards.stderr);
    assert.match(afterwards.stderr, /disk_full/);
    const from = new Date().toISOString();
    await until('more is recorded', async () => {
      const { code, events, stderr } = await small.replay('--topic', 'process', '--since', from);
      assert.equal(code, 0, stderr);
      return events.length > 0;
    });
    await live.stop('SIGKILL');
    await small.stop();
  });
});
