/** Several clusters, read by one command: two buses, of which one ends. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectClusters } from '../../src/client/library/grpc.js';
import { Bus, Command, type EventLine } from '../harness/bus/bus.js';
import { credentialIn, tokenFile } from '../harness/bus/token.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { until } from '../harness/until.js';

const dir = scratchDirectory('clusters');
const config = join(dir, 'backplane.yaml');
let buses: readonly Bus[];

before(async () => {
  const env = { BACKPLANE_SOURCE: 'synthetic', BACKPLANE_SYNTHETIC_RATE: '200' };
  buses = await Promise.all([Bus.start(env), Bus.start(env)]);
  const [a, b] = buses.map((bus) => `{ brokers: ["${bus.grpc}"], tokenFile: ${tokenFile(bus.brokerDir)} }`);
  writeFileSync(
    config,
    `clusters:\n  a: ${a}\n  b: ${b}\n  gone: { brokers: ["127.0.0.1:1"], token: "${'x'.repeat(43)}" }\n`,
  );
});
after(() => Promise.all(buses.map((bus) => bus.destroy())));

function observe(...args: string[]): Command {
  return new Command(['observe', '--config', config, ...args]);
}

function eventsOf({ stdout }: Command): EventLine[] {
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as EventLine]));
}

const nameOf = ({ node, topic, position }: EventLine) => `${node} ${topic} ${JSON.stringify(position)}`;

/** More than comes while one of the two waits for the processor. */
const EACH = 400;

test('events of both are one stream by time, which is resumed where it ended', async () => {
  const window = ['--clusters', 'a,b', '--all', '-o', 'json', '--since', new Date().toISOString()];
  const all = async () => {
    const seen = observe(...window);
    assert.equal(await seen.exited, 0, seen.said);
    return eventsOf(seen).length;
  };
  await until('enough events', async () => (await all()) >= 2 * EACH);
  const first = observe(...window, '--limit', String(EACH));
  assert.equal(await first.exited, 0, first.said);
  const events = eventsOf(first);
  assert.equal(events.length, EACH);
  const [, resume = ''] = /resume with .* (--clusters .*)/.exec(first.stderr) ?? [];
  const cursor = /--cursor '?([^' ]+)/.exec(resume)?.[1] ?? '';
  assert.match(cursor, /^clusters1,/, first.stderr);
  const second = observe('--clusters', 'a,b', '--all', '-o', 'json', '--cursor', cursor, '--limit', String(EACH));
  assert.equal(await second.exited, 0, second.said);
  events.push(...eventsOf(second));
  assert.equal(new Set(events.map(nameOf)).size, 2 * EACH);
  assert.deepEqual([...new Set(events.map(({ node }) => node))].sort(), ['a/node-under-test', 'b/node-under-test']);
  const times = events.map(({ time }) => time);
  assert.deepEqual(times, times.toSorted());
});

test('a cluster that is away makes it incomplete; one that is not configured, or flags of one, are refused', async () => {
  const away = observe('--clusters', 'a,gone', '--all', '--last', '5', '-o', 'json');
  assert.equal(await away.exited, 4, away.said);
  assert.equal(eventsOf(away).length, 5);
  assert.match(away.stderr, /^-- cluster gone is away, the others go on: no broker answers at 127\.0\.0\.1:1/m);
  assert.match(away.stderr, /^-- incomplete: cluster gone \(away: no broker/m);
  const rows: [readonly string[], RegExp][] = [
    [
      ['--clusters', 'a,bb'],
      /--clusters: no cluster "bb" in the setting clusters, did you mean "b"\?; it has a, b, gone/,
    ],
    [['--clusters', 'a', '--broker', 'x:1'], /--clusters excludes --broker: that is of one cluster/],
  ];
  await Promise.all(
    rows.map(async ([args, expected]) => {
      const refused = observe(...args);
      assert.equal(await refused.exited, 2, refused.said);
      assert.match(refused.stderr, expected);
    }),
  );
  const shown = new Command(['config', '--config', config]);
  assert.equal(await shown.exited, 0);
  assert.match(shown.stdout, /^# clusters have tokens: these are not shown here$/m);
  assert.doesNotMatch(shown.stdout, /x{43}/);
});

test('a follower goes on with the cluster that is left: one that hangs is found by its connection', async (t) => {
  const [a, b] = buses.map((bus) => ({ brokers: [bus.grpc], token: credentialIn(bus.brokerDir)('')?.token }));
  // On a busy machine one that is alive may be taken for one that hangs, too: it is there again then.
  const channelOptions = { 'grpc.keepalive_time_ms': 200, 'grpc.keepalive_timeout_ms': 200 };
  const clusters = await connectClusters({ a: a!, b: { ...b!, channelOptions } });
  const { child } = buses[1]!.up;
  t.after(() => child.kill('SIGCONT'));
  t.after(() => clusters.close());
  let link: string | undefined;
  let its: 'as it was' | 'stopped' | 'there again' = 'as it was';
  for await (const item of clusters.subscribe({ topics: ['process'], follow: true }).batches()) {
    if (item.kind === 'link') link = `${item.cluster} ${item.cause?.code ?? 'again'}`;
    if (item.kind !== 'events') continue;
    const { node } = item;
    if (its === 'as it was' && node.startsWith('b/')) {
      child.kill('SIGSTOP');
      [its, link] = ['stopped', undefined];
    } else if (its === 'stopped' && link === 'b unavailable' && node.startsWith('a/')) {
      child.kill('SIGCONT');
      its = 'there again';
    } else if (its === 'there again' && link === 'b again' && node.startsWith('b/')) break;
  }
  assert.deepEqual([its, link], ['there again', 'b again']);
});

test('a broker is retired by a command, which ends when nothing is connected; alone it has nowhere to send anybody', async () => {
  const [, b] = buses;
  const retire = (...args: string[]) => new Command(['retire', ...args], b!.env);
  const [alone, both] = [retire(), retire('--broker', 'a:1,b:1')];
  assert.equal(await alone.exited, 2, alone.said);
  assert.match(alone.stderr, /there is nowhere to go: no other broker of this cluster is known/);
  assert.equal(await both.exited, 2);
  assert.match(both.stderr, /--broker: must name the one broker to retire, got 2/);
  const forced = retire('--force');
  assert.equal(await forced.exited, 0, forced.said);
  assert.match(forced.stderr, /^-- agents: 1, subscribers: 0; all go to other brokers within \d+ ms$/m);
  assert.equal(forced.stdout, 'retired: nothing is connected any more, and the broker can be stopped\n');
  assert.equal(await (await b!.get('/readyz')).text(), 'retired\n');
});
