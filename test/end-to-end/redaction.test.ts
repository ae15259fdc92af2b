/**
 * A secret in an argument or in the environment is nowhere: not on disk, not on the wire, not in the broker's memory. Its
 * absence is searched for in the bytes.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, cannotTrace } from '../harness/bus/bus.js';
import { searchMemory } from '../harness/kernel/process-memory.js';
import { until } from '../harness/until.js';

const RULES = [
  { name: 'house-pin', field: 'process.command_args', pattern: 'house:(\\w+)' },
  // Take long where they match often.
  ...Array.from({ length: 6 }, (_, at) => ({
    ...{ name: `slow-${at}`, field: 'process.command_args', pattern: `q([a-f])([a-f])?([a-f]{1,3})z{0,${at + 1}}` },
  })),
];

let bus: Bus;
beforeEach(async () => {
  if (!cannotTrace) bus = await Bus.start({ BACKPLANE_REDACTION_RULES: JSON.stringify(RULES) });
});
afterEach(async () => {
  if (!cannotTrace) await bus.destroy();
});

/** Programs that end at once, whatever they are given; each has its own mark among its arguments. */
function commands(secret: string, marks: string): readonly (readonly [string, ...string[]])[] {
  let count = 0;
  const next = () => `${marks}-${count++}`;
  return [
    ['/bin/true', next(), `--password=${secret} with spaces ${secret}`],
    ['/bin/true', next(), '--client-secret', secret],
    ['/bin/true', next(), `TOKEN=${secret}`, `https://bob:${secret}@example.org/`],
    ['/bin/true', next(), '-H', `Authorization: Bearer ${secret}`, '-H', `Cookie: id=${secret}`],
    ['/bin/true', next(), `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`],
    ['/bin/true', next(), `house:${secret}`],
    ['/bin/sh', '-c', `PGPASSWORD='${secret} a b' /bin/true; : mysql -p${secret} curl -u bob:${secret}`, next()],
    ['/usr/bin/env', `AWS_SECRET_ACCESS_KEY=${secret}`, '/bin/true', next()],
  ];
}

function assertNowhere(bytes: Buffer, secret: string, where: string): void {
  for (const encoding of ['utf8', 'utf16le'] as const) {
    const at = bytes.indexOf(Buffer.from(secret, encoding));
    assert.equal(at, -1, `the secret is in ${where} at ${at}`);
  }
}

/** Stops the bus, whose recorder and log must have the mark, and whose files must not have the secret. */
async function assertNotOnDisk(mark: string, secret: string): Promise<void> {
  await bus.up.stop();
  let recorded = false;
  for (const entry of readdirSync(bus.dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = readFileSync(path);
    recorded ||= bytes.includes(mark);
    assertNowhere(bytes, secret, path);
  }
  assert.ok(recorded, 'the recorder has the programs');
}

/** The broker is the process that the agent is a child of. */
function assertNotInMemory(mark: string, secret: string): void {
  const encodings = ['utf8', 'utf16le'] as const;
  const texts = [secret, mark].flatMap((text) => encodings.map((encoding) => Buffer.from(text, encoding)));
  const { found } = searchMemory(bus.up.child.pid!, texts);
  assert.deepEqual(found.slice(0, 2), [0, 0], "the secret is in the broker's memory");
  assert.ok(found[2]! + found[3]! > 0, 'the broker has, or had, the programs');
}

/** What the broker shows of one rule; agents report every few seconds. */
async function redactionMetric(rule: string): Promise<string> {
  return until(`redactions by ${rule}`, async () => {
    const metrics = await (await bus.get('/metrics')).text();
    const value = new RegExp(`^backplane_redactions\\{rule="${rule}"\\} (\\d+)$`, 'm').exec(metrics)?.[1];
    return value !== '0' && value;
  });
}

test('a secret in arguments is neither on disk nor on the wire', { skip: cannotTrace }, async () => {
  const secret = `Zq${randomBytes(10).toString('hex')}`;
  const mark = `mark-${randomBytes(6).toString('hex')}`;
  const all = commands(secret, mark);
  const observer = await bus.follow('--topic', 'process', '--filter', 'event.type == "process.exec"');
  let printed = '';
  observer.child.stdout!.on('data', (bytes: Buffer) => {
    printed += bytes.toString('utf8');
  });
  // A program that ends at once may be gone before its arguments are read, and on a slow machine the rules
  // may be out of their time and mask arguments whole: run until each was seen with its mark.
  const marks = () => observer.events.flatMap((event) => event.process?.commandArgs ?? []);
  const seen = (index: number) => marks().includes(`${mark}-${index}`);
  await until(
    'every program with its mark',
    async () => {
      for (const [program, ...args] of all) execFileSync(program, args);
      await sleep(100);
      return all.every((_, index) => seen(index));
    },
    () => marks().filter((arg) => arg.startsWith(mark)),
  );
  assert.match(await redactionMetric('house-pin'), /[1-9]/);
  const answer = await bus.get('/v1/events?topic=process&since=1h');
  const past = Buffer.from(await answer.arrayBuffer());
  await observer.stop('SIGINT');
  assertNotInMemory(mark, secret);
  await assertNotOnDisk(mark, secret);
  assert.ok(past.includes(mark), 'the answer over HTTP has the programs');
  assertNowhere(past, secret, 'the answer over HTTP');
  assert.ok(printed.includes(mark));
  assertNowhere(Buffer.from(printed), secret, 'what observe prints');
});

/** Starts the programs that stdin lists. */
const FROM_STDIN = `
import json, os, sys
for argv in json.load(sys.stdin): os.waitpid(os.posix_spawn(argv[0], argv, {}), 0)
`;

test('a secret in arguments is nowhere while the rules have used up their time', { skip: cannotTrace }, async () => {
  const secret = `Zq${randomBytes(10).toString('hex')}`;
  const mark = `mark-${randomBytes(6).toString('hex')}`;
  const observer = await bus.follow('--topic', 'process', '--filter', 'event.type == "process.exec"');
  const seen = () => observer.events.filter(({ process }) => process?.commandArgs?.includes(mark));
  // Programs for no other purpose than to keep the rules busy; among them those with a secret.
  const busy = Array.from({ length: 20 }, () => ['/bin/true', 'qabcde'.repeat(250)]);
  const all = commands(secret, 'busy').flatMap((command) => [...busy, [...command, mark]]);
  await until('texts that were not looked at', async () => {
    execFileSync('python3', ['-c', FROM_STDIN], { input: JSON.stringify(all) });
    const metrics = await (await bus.get('/metrics')).text();
    return /^backplane_redactions\{rule="unexamined"\} \d\d+$/m.test(metrics);
  });
  await until('some of them', () => seen().length > 0);
  await observer.stop('SIGINT');
  assertNowhere(Buffer.from(JSON.stringify(observer.events)), secret, 'what observe prints');
  assertNotInMemory(mark, secret);
  await assertNotOnDisk(mark, secret);
});

/** Starts programs whose environment has what stdin gives, as it is. */
const WITH_ENVIRONMENT = `
import os, sys
secret = sys.stdin.buffer.read()
for at in range(30):
    environment = {b'AAA': secret, b'SECRET_TOKEN': secret, b'ZZZ': secret * 20}
    os.waitpid(os.posix_spawn('/bin/true', ['/bin/true', sys.argv[1], 'x' * (at * 100)], environment), 0)
`;

test('a secret in the environment is nowhere', { skip: cannotTrace }, async () => {
  // Any bytes: not only such as are text.
  const secret = Buffer.from(randomBytes(24).map((byte) => byte || 1));
  const mark = `mark-${randomBytes(6).toString('hex')}`;
  const observer = await bus.follow('--topic', 'process', '--filter', 'event.type == "process.exec"');
  const seen = () => observer.events.filter(({ process }) => process?.commandArgs?.includes(mark));
  const starter = spawn('python3', ['-c', WITH_ENVIRONMENT, mark], { stdio: ['pipe', 'ignore', 'inherit'] });
  starter.stdin.end(secret);
  assert.equal((await once(starter, 'close'))[0], 0);
  await until(
    'all of them',
    () => seen().filter(({ process }) => process!.commandArgs![0] === '/bin/true').length === 30,
  );
  const past = Buffer.from(await (await bus.get('/v1/events?topic=process&since=1h')).arrayBuffer());
  await observer.stop('SIGINT');
  for (const form of [secret, Buffer.from(secret.toString('utf8')), Buffer.from(secret.toString('utf8'), 'utf16le')]) {
    const text = form.subarray(0, 16);
    assert.equal(past.indexOf(text), -1, 'the answer over HTTP');
    assert.equal(searchMemory(bus.up.child.pid!, [text]).found[0], 0, "the broker's memory");
  }
  await bus.up.stop();
  for (const entry of readdirSync(bus.dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = readFileSync(join(entry.parentPath, entry.name));
    assert.equal(bytes.indexOf(secret.subarray(0, 16)), -1, entry.name);
  }
});
