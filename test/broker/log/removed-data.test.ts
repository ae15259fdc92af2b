/** What the broker has written is taken away while it runs: it says so, and acknowledges nothing that nobody will find. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { comparePositions } from '../../../src/wire/position.js';
import { Harness, range, until } from '../../harness/broker/harness.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const ready = () => fetch(`http://${harness.broker.httpAddress}/readyz`);

async function says(pattern: RegExp): Promise<void> {
  const text = await until('not ready', async () => {
    const answer = await ready();
    const said = await answer.text();
    return answer.status === 503 && pattern.test(said) && said;
  });
  assert.equal(text.split('\n').length, 2, 'one line');
}

async function status(): Promise<string> {
  const answer = await fetch(`http://${harness.broker.httpAddress}/v1/status`);
  return ((await answer.json()) as { logTrouble: string }).logTrouble;
}

const TAKEN_AWAY: Readonly<Record<string, (dir: string) => string>> = {
  'the data directory removed': (dir) => {
    fs.rmSync(dir, { recursive: true });
    return dir;
  },
  'the data directory renamed': (dir) => {
    fs.renameSync(dir, `${dir}.away`);
    return dir;
  },
  "the broker's part removed": (dir) => {
    fs.rmSync(join(dir, 'broker'), { recursive: true });
    return join(dir, 'broker');
  },
  'the logs removed': (dir) => {
    fs.rmSync(join(dir, 'broker/log'), { recursive: true });
    return join(dir, 'broker/log');
  },
};

for (const [what, act] of Object.entries(TAKEN_AWAY)) {
  test(`${what} before the log has anything: the broker says so, and begins no log in the removed directory`, async () => {
    const path = act(harness.dataDir);
    const told = path.replace(harness.dataDir, 'DATA_DIR');
    await says(new RegExp(`^directory ${told} was removed, renamed or replaced while in use`));
    assert.match(await status(), new RegExp(`^directory ${path} was removed`));
    const subscriber = harness.subscribe({ topics: ['process'], follow: true });
    await assert.rejects(
      subscriber.isAccepted(),
      /UNAVAILABLE: directory DATA_DIR\/broker\/log was removed, renamed or replaced/,
    );
    assert.equal(fs.existsSync(join(harness.dataDir, 'broker/log')), false);
    fs.rmSync(`${harness.dataDir}.away`, { recursive: true, force: true });
  });

  test(`${what} while an agent sends: the broker acknowledges nothing more`, async () => {
    const agent = await harness.agent('a');
    const subscriber = harness.subscribe({ topics: ['process'], follow: true });
    await subscriber.isAccepted();
    const publish = (from: number, to: number) => {
      for (const pid of range(from, to)) {
        agent.recorder.record('process.exec', pid);
        agent.publish();
      }
    };
    publish(0, 10);
    await subscriber.has(10);
    const { frontier } = agent.recorder;
    await until('acknowledged', () => {
      const to = agent.acknowledged.get('process');
      return to !== undefined && comparePositions(to, frontier) === 0;
    });
    act(harness.dataDir);
    publish(10, 30);
    await says(/^directory .* was removed, renamed or replaced while in use/);
    publish(30, 40);
    await until('looked again', () => harness.logged.some(({ msg }) => /log takes no frames/.test(msg)));
    assert.equal(comparePositions(agent.acknowledged.get('process')!, frontier), 0);
    assert.equal(subscriber.pids.length, 10, 'nobody sees what a restart does not have');
    fs.rmSync(`${harness.dataDir}.away`, { recursive: true, force: true });
  });
}

test('a removed token file is reported until it is there again', async () => {
  await harness.broker.abort();
  harness.wantsToken = true;
  await harness.startBroker();
  const file = join(harness.dataDir, 'token');
  const token = fs.readFileSync(file);
  fs.rmSync(file);
  await says(/^token file DATA_DIR\/token was removed/);
  fs.writeFileSync(file, token, { mode: 0o600 });
  await until('ready', async () => (await ready()).status === 200);
});

test('state that cannot be written is reported until it can be written', async () => {
  const obstacle = join(harness.dataDir, 'broker/interest.json.new');
  fs.mkdirSync(obstacle);
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  await says(/^cannot write .*broker\/interest\.json: EISDIR; check the disk/);
  assert.match(await status(), /^cannot write/);
  fs.rmdirSync(obstacle);
  await until('ready', async () => (await ready()).status === 200);
});
