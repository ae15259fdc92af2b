/** What is masked and what is not, by a table of command lines; and that nothing of it gets by when the time is used up. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Pacer } from '../../../src/flow/pacer.js';
import { Recorder } from '../../../src/sensor-agent/recorder/recorder.js';
import { Redactor, UNEXAMINED } from '../../../src/sensor-agent/redaction/redactor.js';
import { compileRules } from '../../../src/sensor-agent/redaction/rule.js';
import { MORE_ORDINARY } from './more-ordinary-lines.js';
import { CLASS_PATH, KERNEL_COMPILE, ORDINARY } from './ordinary-lines.js';
import { PROGRAM_LINES, PROGRAM_TEXTS } from './program-lines.js';
import * as secret from './secret-lines.js';

const RULES = compileRules({ rules: [], off: [] });
const redactor = new Redactor(RULES, new Pacer(1, Number.POSITIVE_INFINITY));

const { ANY_TEXT } = secret;
const WORDS = [...secret.WORDS, ...PROGRAM_LINES];
const COMMAND_TEXTS = [...secret.COMMAND_TEXTS, ...PROGRAM_TEXTS];

const words = (line: string) => line.split(' ').map((word) => word.replaceAll('~', ' '));

function redact(args: readonly string[], by = redactor): readonly string[] {
  const executablePath = args[0]!.startsWith('/') ? args[0] : `/usr/bin/${args[0]}`;
  return by.redact({ pid: 1, parentPid: 1, comm: 'x', args, executablePath }).args!;
}

const SECRETS = ['hunter2', 'Zq7xW9vB2nM4kL6jH8gF', '12345', 'correcthorse'];
const ANY_SECRETS = [...SECRETS, 'a b', 'p@ss:w0rd/+=', 'x,y;z&1', `it's "it"`, '/abc/def+ghi', 'Zq7x\nW9v'];

const SHELLS = [
  ['sh', '-c'],
  ['bash', '-lc'],
  ['ssh', 'host'],
] as const;
/** Such as nothing else on the disk can be. */
const WORDS_ON_DISK = ['Zq7xW9vB2nM4kL6jH8gF', 'correcthorsebattery', '481516234223'];
/** A secret that looks like a path. */
const SECRETS_ON_DISK = [...WORDS_ON_DISK, 'Zq7x/W9vB/2nM4kL6'];

/** Lines and the secrets to try in them. */
const MASKED: readonly (readonly [line: string, secrets: readonly string[]])[] = [
  ...ANY_TEXT.map((line) => [line, ANY_SECRETS] as const),
  ...WORDS.map((line) => [line, SECRETS] as const),
];

/** All lines that are wrong, rather than the first. */
function assertNone(wrong: readonly string[]): void {
  assert.equal(wrong.length, 0, `\n${wrong.slice(0, 80).join('\n')}\n${wrong.length} in all`);
}

test('every secret of the table is masked, and nothing else', () => {
  assertNone(
    MASKED.flatMap(([line, secrets]) =>
      secrets.flatMap((secret) => {
        const got = redact(words(line).map((word) => word.replaceAll('{}', secret)));
        const wanted = words(line).map((word) => word.replaceAll('{}', '***'));
        return got.join(' ') === wanted.join(' ') ? [] : [`${line} with ${JSON.stringify(secret)}: ${got.join(' ')}`];
      }),
    ),
  );
});

test('secrets in command texts are masked, and nothing else', () => {
  assertNone(
    COMMAND_TEXTS.flatMap((text) =>
      SECRETS.flatMap((secret) =>
        SHELLS.flatMap((before) => {
          const got = redact([...before, text.replaceAll('{}', secret)]).at(-1)!;
          return got === text.replaceAll('{}', '***') ? [] : [`${before.join(' ')} ${text}: ${got}`];
        }),
      ),
    ),
  );
});

test('ordinary command lines are left as they are', () => {
  const lines = [...ORDINARY, ...MORE_ORDINARY, KERNEL_COMPILE, CLASS_PATH];
  assertNone(
    lines.flatMap((line) => {
      const got = redact(words(line)).join(' ');
      return got === words(line).join(' ') ? [] : [`${line}: ${got}`];
    }),
  );
});

/** Uses up the time of a redactor, as anybody could who may run programs. */
function exhaust(by: Redactor): void {
  const before = by.counts.get(UNEXAMINED) ?? 0;
  while ((by.counts.get(UNEXAMINED) ?? 0) === before)
    redact(['sh', '-c', 'mysql -x --password token '.repeat(600)], by);
}

test('with the masking time used up on purpose, no secret of the table reaches the disk', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'unexamined-'));
  const tired = new Redactor(RULES, new Pacer(1e-9, 1));
  const recorder = new Recorder({ dir, bytesMax: 2 ** 40, ageMsMax: 1e12, redactor: tired });
  try {
    exhaust(tired);
    const record = (args: readonly string[]) => {
      const process = { pid: 7, parentPid: 1, comm: 'x', args, executablePath: `/usr/bin/${args[0]}` };
      recorder.exec({ lane: 0, timeNs: 1n, pid: 7, missed: false, process });
      recorder.snapshot([process]);
    };
    const looked = tired.counts.get(UNEXAMINED)!;
    let count = 0;
    for (const secret of SECRETS_ON_DISK) {
      const isWord = WORDS_ON_DISK.includes(secret);
      const lines = isWord ? [...ANY_TEXT, ...WORDS] : ANY_TEXT;
      for (const line of lines) record(words(line).map((word) => word.replaceAll('{}', secret)));
      for (const text of COMMAND_TEXTS) for (const before of SHELLS) record([...before, text.replaceAll('{}', secret)]);
      count += 2 * (lines.length + COMMAND_TEXTS.length * SHELLS.length);
    }
    record(['mark-of-the-last', '--password', 'x']);
    assert.equal(tired.counts.get(UNEXAMINED), looked + count + 2);
    await recorder.close();
    const bytes = Buffer.concat(
      readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(join(entry.parentPath, entry.name))),
    );
    assert.ok(bytes.includes('mark-of-the-last'), 'all was recorded');
    for (const secret of SECRETS_ON_DISK) {
      const at = bytes.indexOf(secret);
      assert.equal(at, -1, `${secret}: ${bytes.subarray(Math.max(0, at - 120), at + 40).toString('latin1')}`);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('with the masking time used up, argument zero, names of flags and plain paths remain', () => {
  const tired = new Redactor(RULES, new Pacer(1e-9, 1));
  exhaust(tired);
  for (const [given, expected] of [
    [
      'gcc -O2 --sysroot=/x -I./include -c security/keys/keyring.c mm/slab.c',
      'gcc -O*** --sysroot=*** -I*** -c *** ***',
    ],
    [
      'gcc --key x mm/slab.c ./a.out /usr/lib/x.so ../b/c main.c',
      'gcc --key *** mm/slab.c ./a.out /usr/lib/x.so ../b/c ***',
    ],
    ['app --password hunter2 /srv/data --verbose', 'app --password *** /srv/data --verbose'],
    ['app --password=hunter2 x=1 PASSWORD:hunter2', 'app --password=*** x=*** PASSWORD:***'],
    ['app -storepass hunter2 -v /srv/x', 'app -s*** *** -v ***'],
    [
      'curl https://bob:hunter2@example.org:80/a/b?x=1&token=hunter2',
      'curl https://***@example.org:80/a/b?x=***&token=***',
    ],
    [
      'curl https://example.org/token/x /srv/token /srv/a@b /srv/a?b /srv/a=b',
      'curl https://example.org/token/x *** *** *** ***',
    ],
    ['mysql -phunter2 /srv/x', 'mysql -p*** ***'],
    ['rabbitmqctl add_user u a/b', 'rabbitmqctl *** *** ***'],
    ['aws configure set aws_secret_access_key ab/cd', 'aws *** *** *** ***'],
    ['kubectl get secret my-token -- -', 'kubectl *** *** *** -- -'],
    ['/opt/token/bin/app token x/y', '/opt/token/bin/app *** ***'],
    ['app a/b ghp_0123456789abcdefghijklmn', 'app a/b ***'],
    ['ls -la /usr/share/doc', 'ls -la /usr/share/doc'],
  ] as const) {
    assert.equal(redact(words(given), tired).join(' '), expected);
  }
});
