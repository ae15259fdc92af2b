/** The real commands under TLS: certificates that change under load, and a node that joins and stays one. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { securedBy } from '../../src/access/secure-channel.js';
import { Client } from '../../src/client/client.js';
import { type PemPair, TestAuthority } from '../harness/access/certificates.js';
import { command, type Running, run } from '../harness/bus/command.js';
import { credentialIn } from '../harness/bus/token.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { ownAddress } from '../harness/own-address.js';
import { runs } from '../harness/runs.js';
import { until } from '../harness/until.js';

/** A mounted secret, as Kubernetes changes it: all of its files at once, by one link. */
class Secret {
  readonly dir = scratchDirectory('secret');
  #count = 0;

  set(pair: PemPair): void {
    const name = `..${++this.#count}`;
    mkdirSync(join(this.dir, name));
    writeFileSync(join(this.dir, name, 'tls.crt'), pair.cert);
    writeFileSync(join(this.dir, name, 'tls.key'), pair.key);
    symlinkSync(name, join(this.dir, '..data.new'));
    renameSync(join(this.dir, '..data.new'), join(this.dir, '..data'));
    if (this.#count === 1)
      for (const file of ['tls.crt', 'tls.key']) symlinkSync(join('..data', file), join(this.dir, file));
    else rmSync(join(this.dir, `..${this.#count - 1}`), { recursive: true });
  }
}

const hostsOf = (...addresses: string[]) => addresses.map((address) => address.split(':')[0]!);

interface Bus {
  readonly own: TestAuthority;
  readonly secret: Secret;
  readonly broker: Running;
  readonly dir: string;
  readonly grpc: string;
  readonly http: string;
}

async function started(t: TestContext): Promise<Bus> {
  const own = await TestAuthority.make('bus');
  const secret = new Secret();
  const [dir, grpc, http] = [scratchDirectory('tls'), await ownAddress(), await ownAddress()];
  secret.set(await own.brokerPem(hostsOf(grpc, http)));
  const broker = command(['broker'], {
    BACKPLANE_DATA_DIR: dir,
    BACKPLANE_GRPC_LISTEN: grpc,
    BACKPLANE_HTTP_LISTEN: http,
    BACKPLANE_TLS_CERT: join(secret.dir, 'tls.crt'),
    BACKPLANE_TLS_KEY: join(secret.dir, 'tls.key'),
    BACKPLANE_TLS_CLIENT_CA: own.ca,
    BACKPLANE_TLS_CA_KEY: own.caKey,
    BACKPLANE_TLS_NODE_LIFETIME: `${NODE_LIFETIME_MS}ms`,
  });
  t.after(() => broker.child.kill('SIGKILL'));
  await broker.printed(/^listening on \S+ \(gRPC\) and https:/m);
  return { own, secret, broker, dir, grpc, http };
}

/** Asks over connections of its own, again and again. */
class Load {
  readonly failures: string[] = [];
  readonly serials = new Set<string>();
  asked = 0;
  #over = false;
  readonly #loops: Promise<void>[];

  constructor({ own, dir, grpc, http }: Bus) {
    const credentials = credentialIn(dir);
    const { token } = credentials(grpc)!;
    const [host, port] = http.split(':') as [string, string];
    const headers = { authorization: `Bearer ${token}` };
    const ca = own.authority.pem;
    const overHttp = async () => {
      const asking = request({ host, port, path: '/v1/nodes', headers, ca, agent: false }).end();
      const [socket] = (await once(asking, 'socket')) as [TLSSocket];
      await once(socket, 'secureConnect');
      const serial = socket.getPeerCertificate().serialNumber;
      const [response] = (await once(asking, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }];
      for await (const part of response) assert.ok(part.length > 0);
      assert.equal(response.statusCode, 200);
      this.serials.add(serial);
    };
    const overGrpc = async () => {
      const securityFor = securedBy({ ca: own.ca, own: undefined });
      const client = new Client([grpc], credentials, { securityFor });
      await client.getStatus().finally(() => client.close());
    };
    this.#loops = [overHttp, overHttp, overGrpc, overGrpc].map((ask) => this.#run(ask));
  }

  async #run(ask: () => Promise<void>): Promise<void> {
    while (!this.#over) {
      this.asked += 1;
      await ask().catch((cause: Error) => this.failures.push(cause.message));
    }
  }

  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#loops);
  }
}

/** An agent that joined, and the events of its node as a subscriber gets them. */
class Node {
  events = 0;
  readonly #bus: Bus;
  readonly #env: Readonly<Record<string, string>>;
  #agent!: Running;
  readonly #stop = new AbortController();

  constructor(t: TestContext, bus: Bus) {
    this.#bus = bus;
    this.#env = {
      BACKPLANE_DATA_DIR: scratchDirectory('node'),
      BACKPLANE_BROKERS: bus.grpc,
      BACKPLANE_NODE_NAME: 'node-a',
      BACKPLANE_SOURCE: 'synthetic',
      BACKPLANE_SYNTHETIC_RATE: '100',
    };
    t.after(() => this.#agent.child.kill('SIGKILL'));
    t.after(() => this.#stop.abort());
  }

  start(...args: string[]): void {
    this.#agent = command(['agent', ...args], this.#env);
  }

  async follow(): Promise<void> {
    const client = new Client([this.#bus.grpc], credentialIn(this.#bus.dir), {
      securityFor: securedBy({ ca: this.#bus.own.ca, own: undefined }),
    });
    for await (const item of client.subscribe({ follow: true }, this.#stop.signal))
      if (item.kind === 'events') this.events += item.batch.events.length;
    client.close();
  }

  async stopped(): Promise<string> {
    this.#agent.child.kill('SIGTERM');
    assert.equal((await this.#agent.done).code, 0);
    return this.log;
  }

  get log(): string {
    return this.#agent.err;
  }

  get certificate(): X509Certificate {
    return new X509Certificate(readFileSync(join(this.#env.BACKPLANE_DATA_DIR!, 'tls', 'node.pem')));
  }

  async goesOn(): Promise<void> {
    const before = this.events;
    await until(
      'more events',
      () => this.events > before,
      () => this.log,
    );
  }
}

const SWAPS = 20;
/** Long enough to start an agent on a busy machine, short enough to wait for its end; a minute where a test may take long. */
const NODE_LIFETIME_MS = Math.min(runs(8_000), 60_000);

test('certificates are swapped under load without a failure, while a node that joined renews its own', async (t) => {
  const bus = await started(t);
  const asked = ['--broker', bus.grpc, '--tls-ca', bus.own.ca, '--token-file', join(bus.dir, 'token')];
  const token = await run(['certs', 'join-token', 'node-*', ...asked]);
  assert.match(token.err, /^For one node, once, until \S+Z: /);
  const node = new Node(t, bus);
  node.start('--join-token', token.out.trim());
  void node.follow();
  await node.goesOn();
  const first = node.certificate;
  const load = new Load(bus);
  let last: PemPair | undefined;
  for (let swap = 0; swap < SWAPS; swap += 1) {
    const before = load.asked;
    last = await bus.own.brokerPem(hostsOf(bus.grpc, bus.http));
    bus.secret.set(last);
    // The last one is noticed by the broker itself.
    if (swap < SWAPS - 1) bus.broker.child.kill('SIGHUP');
    await until(
      'some calls',
      () => load.asked > before + 8,
      () => load.asked,
    );
  }
  const { serialNumber } = new X509Certificate(last!.cert);
  await until(
    'the last certificate',
    () => load.serials.has(serialNumber),
    () => load.asked,
  );
  await load.end();
  assert.deepEqual(load.failures, []);
  assert.ok(load.serials.size > SWAPS / 2, `${load.serials.size} certificates were seen`);
  t.diagnostic(`${load.asked} calls over connections of their own, ${load.serials.size} certificates, 0 failures`);
  await until(
    'the end of the first certificate',
    () => Date.now() > Date.parse(first.validTo),
    () => Date.now(),
  );
  await node.goesOn();
  const log = await node.stopped();
  assert.match(log, /the certificate of this node was renewed/);
  assert.equal(log.match(/uplink connected/g)?.length, 1, log);
  assert.notEqual(node.certificate.serialNumber, first.serialNumber);
  // What it has now lets it in again, without a token.
  node.start();
  await node.goesOn();
  bus.broker.child.kill('SIGTERM');
  assert.equal((await bus.broker.done).code, 0);
});
