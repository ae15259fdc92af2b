/** Credentials by which brokers connect to servers that an operator runs by JWTs. */
import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { connectNats } from '../../../src/broker/nats/connect.js';
import { command, run } from '../../harness/bus/command.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { NatsOperator } from '../../harness/nats/operator.js';
import { until } from '../../harness/until.js';

const skip = needsNats();
const operator = new NatsOperator();
let servers: NatsServers;

before(async () => {
  if (skip === false) servers = await NatsServers.start({ settings: async () => operator.settings });
});
after(() => servers?.destroy());

test('a broker begins with credentials of the account, and says in one sentence what is wrong with others', {
  skip,
}, async () => {
  const mine = operator.credentials('broker');
  const onTest = ['--nats', servers.urls, '--cluster', 'test', '--nats-credentials'];
  const made = await run(['cluster', 'init', '--log-bytes-max', '512MiB', ...onTest, mine]);
  assert.equal(made.code, 0, made.err);
  const listen = ['--grpc-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0'];
  const begin = (credentials: string) =>
    command(['broker', ...listen, '--data-dir', scratchDirectory('credentials'), ...onTest, credentials]);
  const broker = begin(mine);
  try {
    await broker.printed(/^listening on/m);
  } finally {
    broker.child.kill('SIGTERM');
  }
  assert.equal((await broker.done).code, 0, broker.err);

  const [refused, unreadable, missing] = [operator.strange('strange'), operator.credentials('cut'), '/nowhere/creds'];
  writeFileSync(unreadable, readFileSync(mine, 'utf8').slice(0, 200));
  const why = async (credentials: string, wanted: number) => {
    const { code, out, err } = await begin(credentials).done;
    assert.deepEqual([code, out], [wanted, ''], err);
    return err;
  };
  assert.equal(
    await why(refused, 1),
    `backplane: nats: none of ${servers.urls} can be used: Authorization Violation\n`,
  );
  assert.equal(await why(unreadable, 2), `backplane: nats.credentials ${unreadable}: unable to parse credentials\n`);
  assert.match(await why(missing, 2), /^backplane: nats\.credentials \/nowhere\/creds cannot be read: ENOENT.*\n$/);
});

test('a connection comes back by renewed credentials, and while the file is away by those before', {
  skip,
}, async () => {
  const file = operator.credentials('renewed');
  const connection = await connectNats({ servers: servers.urls.split(','), credentials: file }, 'test');
  /** As the server knows it. */
  const user = async () =>
    (await connection.request('$SYS.REQ.USER.INFO')).json<{ readonly data: { readonly user: string } }>().data.user;
  const back = async () => {
    await connection.reconnect();
    await until('it is connected again', () =>
      connection.flush().then(
        () => true,
        () => connection.isClosed(),
      ),
    );
    assert.equal(connection.isClosed(), false);
    return user();
  };
  try {
    const before = await user();
    rmSync(file);
    assert.equal(await back(), before);
    writeFileSync(file, '-----BEGIN NATS USER JWT-----\n');
    assert.equal(await back(), before);
    renameSync(operator.credentials('next'), file);
    assert.notEqual(await back(), before);
  } finally {
    await connection.close();
  }
});
