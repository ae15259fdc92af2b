/** A broker on free ports with a directory of its own, and subscribers that collect what comes. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import { pino } from 'pino';
import { securedBy } from '../../../src/access/secure-channel.js';
import type { TlsFiles } from '../../../src/broker/access/tls/server-tls.js';
import { PUBLISHING } from '../../../src/broker/app/publisher.js';
import { type Broker, startBroker } from '../../../src/broker/broker.js';
import { DOCUMENT_BOUNDS } from '../../../src/broker/log/documents/document-logs.js';
import type { BrokerOptions } from '../../../src/broker/options.js';
import { MiB } from '../../../src/limits.js';
import { packageVersion } from '../../../src/package-files.js';
import { type FileOps, nodeFileOps } from '../../../src/storage/file-ops.js';
import { type ChannelSecurity, createBackplaneClient, createGroupsClient } from '../../../src/wire/grpc/rpc.js';
import type {
  BackplaneClient,
  GroupsClient,
  SubscribeRequest,
  SubscribeResponse__Output,
} from '../../../src/wire/messages.js';
import { credentialIn } from '../bus/token.js';
import { until } from '../until.js';
import { TestPublisher } from './documents.js';
import { TestAgent, TestRecorder } from './test-agent.js';

export { until };

export class Harness {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'backplane-broker-'));
  /** What the broker has logged. */
  readonly logged: { readonly level: number; readonly msg: string }[] = [];
  readonly logger = pino({ level: 'info' }, { write: (line: string) => this.#note(line) });
  broker!: Broker;
  /** The disk of the broker's log. */
  files: FileOps = nodeFileOps;
  log = { bytesMax: 256 * MiB };
  /** Where the log is kept in place of the broker's directory. */
  nats: BrokerOptions['nats'];
  ceilingBytesPerSecond: number | undefined;
  /** Bounds of the logs of documents, and what may be published. */
  documents = DOCUMENT_BOUNDS;
  publishing = PUBLISHING;
  groups: BrokerOptions['groups'];
  version = packageVersion();
  /** Other brokers that it knows of. */
  others: BrokerOptions['others'];
  /** Origins of pages of other sites that HTTP serves. */
  origins: readonly string[] = [];
  /** Fewer connections than a broker takes by default, where a test opens all of them. */
  httpBounds: BrokerOptions['httpBounds'];
  /** Whether calls want a token. Tests of what callers may do once they are let in need none. */
  wantsToken = false;
  /** Beyond loopback only with TLS. */
  grpcListen = '127.0.0.1:0';
  httpListen = '127.0.0.1:0';
  /** The broker's certificate, if it uses TLS. */
  tls: TlsFiles | undefined;
  /** Files of roles and tokens; none by default. */
  access: NonNullable<BrokerOptions['access']> = {};
  #agents: TestAgent[] = [];
  #subscribers: Subscriber[] = [];
  #publishers: TestPublisher[] = [];
  readonly #clients: GroupsClient[] = [];

  static async start(files = nodeFileOps): Promise<Harness> {
    const harness = new Harness();
    harness.files = files;
    await harness.startBroker();
    return harness;
  }

  async startBroker(): Promise<void> {
    this.broker = await startBroker({
      dataDir: this.dataDir,
      grpcListen: this.grpcListen,
      httpListen: this.httpListen,
      httpOrigins: this.origins,
      httpBounds: this.httpBounds,
      tls: this.tls,
      insecure: false,
      token: this.wantsToken,
      access: this.access,
      nats: this.nats,
      log: { ...this.log, ageMsMax: 3_600_000, fsync: 'commit', files: this.files },
      documents: this.documents,
      publishing: this.publishing,
      ceilingBytesPerSecond: this.ceilingBytesPerSecond,
      groups: this.groups,
      others: this.others,
      version: this.version,
      logger: this.logger,
    });
  }

  #note(line: string): void {
    if (process.env.BACKPLANE_TEST_LOG) process.stderr.write(line);
    this.logged.push(JSON.parse(line));
  }

  async agent(node: string, recorder = new TestRecorder(`recorder-${node}`), hello = {}): Promise<TestAgent> {
    const { token } = (this.wantsToken && credentialIn(this.dataDir)(this.broker.grpcAddress)) || { token: undefined };
    const agent = await TestAgent.connect(this.broker.grpcAddress, node, recorder, hello, token, this.#securityFor);
    this.#agents.push(agent);
    return agent;
  }

  /** Of tests under TLS, whose authority is that of their clients. */
  get #securityFor() {
    return this.tls?.clientCa === undefined ? undefined : securedBy({ ca: this.tls.clientCa, own: undefined });
  }

  /** Node `a`, and a subscriber that follows its processes and has received these pids live. */
  async delivered(pids: readonly number[]): Promise<{ agent: TestAgent; subscriber: Subscriber }> {
    const agent = await this.agent('a');
    const subscriber = this.subscribe({ topics: ['process'], follow: true });
    await subscriber.isAccepted();
    for (const pid of pids) agent.recorder.record('process.exec', pid);
    agent.publish();
    await subscriber.has(pids.length);
    return { agent, subscriber };
  }

  /** `address`: a way to the broker, by default the straight one. */
  subscribe(request: SubscribeRequest, token?: string, address = this.broker.grpcAddress): Subscriber {
    const security = this.#securityFor?.(address);
    const subscriber = new Subscriber(address, request, token, security);
    this.#subscribers.push(subscriber);
    return subscriber;
  }

  publisher(): TestPublisher {
    const publisher = new TestPublisher(this.broker.grpcAddress);
    this.#publishers.push(publisher);
    return publisher;
  }

  groupsClient(): GroupsClient {
    const client = createGroupsClient(this.broker.grpcAddress);
    this.#clients.push(client);
    return client;
  }

  /** Where the broker saves what it asked of nodes, and from which positions they hold it. */
  get interestFile(): string {
    return join(this.dataDir, 'broker', 'interest.json');
  }

  /** Until the saved interest says from where some node holds it: then a broker that is killed knows it again. */
  async interestIsSaved(): Promise<void> {
    await until('the saved interest', () => /"steps":\[\{/.test(readFileSync(this.interestFile, 'utf8')));
  }

  /** Until it has these nodes in its list, and has them there too when it is killed now. */
  async knowsNodes(names: readonly string[]): Promise<void> {
    const listed = async () => {
      if (this.nats === undefined) return readFileSync(this.interestFile, { encoding: 'utf8', flag: 'a+' });
      return await (await fetch(`http://${this.broker.httpAddress}/v1/nodes`)).text();
    };
    await until(`the nodes ${names}`, async () => {
      const list = await listed();
      return names.every((name) => list.includes(`"name":"${name}"`));
    });
  }

  /** As HTTP lists them, in the order in which they began. */
  async subscriptions(): Promise<Record<string, string>[]> {
    const answer = await fetch(`http://${this.broker.httpAddress}/v1/subscriptions`);
    return ((await answer.json()) as { subscriptions: Record<string, string>[] }).subscriptions;
  }

  /** Until so many are listed. */
  async hasSubscriptions(count: number): Promise<void> {
    let seen = Number.NaN;
    const isSo = async () => {
      seen = (await this.subscriptions()).length;
      return seen === count;
    };
    await until(`${count} subscriptions`, isSo, () => seen);
  }

  /** The counts of one subscription, by the order in which they began. */
  async ledger(at = 0): Promise<Record<string, number>> {
    const subscriptions = await this.subscriptions();
    const names = ['Matched', 'Delivered', 'Shed', 'Skipped', 'Throttled', 'Refilled'];
    return Object.fromEntries(
      names.map((name) => [name.toLowerCase(), Number(subscriptions.at(at)?.[`events${name}`])]),
    );
  }

  async destroy(): Promise<void> {
    for (const subscriber of this.#subscribers) subscriber.cancel();
    for (const agent of this.#agents) agent.kill();
    for (const publisher of this.#publishers) publisher.close();
    for (const client of this.#clients) client.close();
    // One that was refused never began.
    await (this.broker as Broker | undefined)?.abort();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

export class Subscriber {
  readonly responses: SubscribeResponse__Output[] = [];
  error: ServiceError | undefined;
  ended = false;
  readonly #client: BackplaneClient;
  readonly #call: ClientReadableStream<SubscribeResponse__Output>;

  constructor(address: string, request: SubscribeRequest, token?: string, security?: ChannelSecurity) {
    this.#client = createBackplaneClient(address, token, security);
    this.#call = this.#client.subscribe(request);
    this.#call.on('data', (response: SubscribeResponse__Output) => this.responses.push(response));
    this.#call.on('error', (error: ServiceError) => {
      this.error = error;
      this.ended = true;
    });
    this.#call.on('end', () => {
      this.ended = true;
    });
  }

  /** `node:pid` of each event, in order of arrival. */
  get events(): string[] {
    return this.responses.flatMap(({ events }) =>
      events ? events.events.map((event) => `${events.node}:${event.process?.pid}`) : [],
    );
  }

  get pids(): number[] {
    return this.responses.flatMap(({ events }) => events?.events.map((event) => event.process?.pid ?? 0) ?? []);
  }

  /** Pids of the events that came as refills. */
  get refilled(): number[] {
    return this.responses.flatMap(({ events }) =>
      events?.refill ? events.events.map((event) => event.process?.pid ?? 0) : [],
    );
  }

  get gaps() {
    return this.responses.flatMap(({ gap }) => gap ?? []);
  }

  get accepted() {
    return this.responses[0]?.accepted;
  }

  get coverage() {
    return this.responses.find(({ coverage }) => coverage)?.coverage;
  }

  /** The newest cursor of any response. */
  get cursor(): string {
    for (const { events, watermark, coverage } of this.responses.toReversed()) {
      const cursor = events?.cursor || watermark?.cursor || coverage?.cursor;
      if (cursor) return cursor;
    }
    return '';
  }

  /** Cursor and how many events came up to it, for each batch. */
  get cursors(): { cursor: string; count: number }[] {
    let count = 0;
    return this.responses.flatMap(({ events }) => {
      if (!events) return [];
      count += events.events.length;
      return [{ cursor: events.cursor, count }];
    });
  }

  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  cancel(): void {
    this.#call.cancel();
    this.#client.close();
  }

  async isAccepted(): Promise<void> {
    await this.until('accepted', () => this.accepted !== undefined || this.error !== undefined);
    if (this.error) throw this.error;
  }

  async has(count: number): Promise<void> {
    await this.until(`${count} events`, () => this.pids.length >= count || this.ended);
    assert.ok(this.pids.length >= count, `${count} events expected, ${this.pids.length} came: ${this.error?.message}`);
  }

  async end(): Promise<void> {
    await this.until('end of stream', () => this.ended);
  }

  /** Waits as long as responses keep coming. */
  async until(what: string, holds: () => boolean): Promise<void> {
    await until(what, holds, () => `${this.responses.length} responses`);
  }
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
