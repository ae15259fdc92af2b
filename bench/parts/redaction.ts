/**
 * What masking costs an exec: ordinary programs, those of builds, ones that hold a secret, and the worst that
 * arguments can hold; and what is masked without being looked at when lines come at a rate.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Pacer } from '../../src/flow/pacer.js';
import { ARGUMENTS_BYTES_MAX } from '../../src/limits.js';
import { Redactor, UNEXAMINED } from '../../src/sensor-agent/redaction/redactor.js';
import { compileRules } from '../../src/sensor-agent/redaction/rule.js';
import type { ProcessSnapshot } from '../../src/sensor-agent/source/source.js';
import { report } from '../measuring/report.js';

const RUN_MS = 60;
const RUNS = 7;
const RATE_PER_SECOND = 2_000;
const RATE_MS = 3_000;
const RULES = compileRules({ rules: [], off: [] });
const redactor = new Redactor(RULES, new Pacer(1, Number.POSITIVE_INFINITY));

function exec(...args: string[]): ProcessSnapshot {
  const executablePath = `/usr/bin/${args[0]}`;
  return { pid: 1, parentPid: 1, comm: 'x', executablePath, workingDirectory: '/home/user/project', args };
}

const line = (text: string) => exec(...text.split(' '));
const full = (text: string) => [exec('sh', '-c', text.repeat(Math.floor(ARGUMENTS_BYTES_MAX / text.length)))];

const KERNEL_COMPILE = line(
  'gcc -Wp,-MMD,security/keys/.keyring.o.d -nostdinc -I./arch/x86/include -I./arch/x86/include/generated -I./include ' +
    '-I./arch/x86/include/uapi -I./include/uapi -include ./include/linux/compiler-version.h ' +
    '-include ./include/linux/kconfig.h -D__KERNEL__ -fmacro-prefix-map=./= -std=gnu11 -fshort-wchar -fno-common ' +
    '-fno-PIE -fno-strict-aliasing -mno-sse -m64 -DKBUILD_MODFILE="security/keys/keyring" ' +
    '-DKBUILD_BASENAME="keyring" -DKBUILD_MODNAME="keyring" -c -o security/keys/keyring.o security/keys/keyring.c',
);
const JARS = ['spring-security-oauth2-core', 'jjwt-api', 'token-store', 'secret-manager-client', 'authlib', 'keycloak'];
const CLASS_PATH = exec(
  'java',
  '-cp',
  Array.from({ length: 70 }, (_, index) => `/opt/app/lib/${JARS[index % 6]}-5.${index}.1.RELEASE.jar`).join(':'),
  'com.example.Main',
);
const KUBECTL = line('kubectl get secret my-token');

const KINDS: Readonly<Record<string, readonly ProcessSnapshot[]>> = {
  ordinary: [
    exec('true'),
    line('ls -la --color=auto /usr/share/doc'),
    line('mkdir -p build/output'),
    line('grep -rn pattern src'),
    line('cp -p a.txt b.txt'),
    line('sed -n 10,25p /etc/fstab'),
    line('node --enable-source-maps dist/main.js --port 8080'),
    line('cc -O2 -Wall -Iinclude -DNDEBUG -c src/main.c -o build/main.o'),
    line('git status --porcelain --branch'),
    exec('sh', '-c', 'test -d build || mkdir -p build; date +%s > build/stamp'),
  ],
  'kernel build: gcc, 600 bytes': [KERNEL_COMPILE],
  'class path, 3.2 KB': [CLASS_PATH],
  'kubectl get secret my-token': [KUBECTL],
  'one secret in ten': [
    ...Array.from({ length: 9 }, () => line('cc -O2 -Iinclude -c src/main.c -o build/main.o')),
    exec('psql', 'postgres://app:secret@db:5432/app'),
  ],
  'a password flag': [line('app --password hunter2 --host db')],
  'curl without a secret': [line('curl -fsSL https://example.org/a/b')],
  '16 KiB, no hint': full('abcdefgh '),
  '16 KiB of flags': full(' --password x'),
  '16 KiB of names': full(' token'),
  '16 KiB of "curl"': full('curl -x '),
  '16 KiB of quotes': full(`token='a"`),
};

/** The median of several runs. */
function microseconds(by: Redactor, execs: readonly ProcessSnapshot[]): number {
  const round = () => {
    for (const one of execs) by.redact(one);
  };
  for (let warm = 0; warm < 200; warm += 1) round();
  const runs = Array.from({ length: RUNS }, () => {
    const startMs = performance.now();
    let rounds = 0;
    for (; performance.now() - startMs < RUN_MS; rounds += 1) round();
    return ((performance.now() - startMs) * 1000) / (rounds * execs.length);
  });
  return Number(runs.sort((a, b) => a - b)[RUNS >> 1]!.toFixed(2));
}

/** How many of the execs are masked by their place alone when they come at the rate, in percent. */
async function unexaminedPercent(one: ProcessSnapshot): Promise<number> {
  const by = new Redactor(RULES);
  let execs = 0;
  const startMs = performance.now();
  for (let nowMs = startMs; nowMs - startMs < RATE_MS; nowMs = performance.now()) {
    for (; execs < ((nowMs - startMs) / 1000) * RATE_PER_SECOND; execs += 1) by.redact(one);
    await sleep(20);
  }
  return Number((((by.counts.get(UNEXAMINED) ?? 0) / execs) * 100).toFixed(1));
}

report(
  'redaction',
  Object.entries(KINDS).map(([kind, execs]) => ({ kind, 'µs per exec': microseconds(redactor, execs) })),
);

const tired = new Redactor(RULES, new Pacer(1e-9, 0));
const atRate = [];
for (const [kind, one] of Object.entries({ KERNEL_COMPILE, CLASS_PATH, KUBECTL })) {
  const percent = await unexaminedPercent(one);
  atRate.push({
    kind,
    [`not looked at of ${RATE_PER_SECOND}/s, %`]: percent,
    'µs per exec that is not looked at': microseconds(tired, [one]),
  });
}
report('redaction at a rate', atRate);
