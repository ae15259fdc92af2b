/** A secret in an argument is nowhere: not on disk, not on the wire. Its absence is searched for in the bytes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, cannotTrace } from '../harness/bus/bus.js';
import { until } from '../harness/until.js';

const RULES = [{ name: 'house-pin', field: 'process.command_args', pattern: 'house:(\\w+)' }];

let bus: Bus;
before(async () => {
  if (!cannotTrace) bus = await Bus.start({ BACKPLANE_REDACTION_RULES: JSON.stringify(RULES) });
});
after(async () => {
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
  await bus.up.stop();
  assert.ok(past.includes(mark), 'the answer over HTTP has the programs');
  assertNowhere(past, secret, 'the answer over HTTP');
  assert.ok(printed.includes(mark));
  assertNowhere(Buffer.from(printed), secret, 'what observe prints');
  let recorded = false;
  for (const entry of readdirSync(bus.dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = readFileSync(path);
    recorded ||= bytes.includes(mark);
    assertNowhere(bytes, secret, path);
  }
  assert.ok(recorded, 'the recorder has the programs');
});
