/** What masking costs an exec: ordinary ones, ones that hold a secret, and the worst that arguments can hold. */
import { Pacer } from '../src/flow/pacer.js';
import { ARGUMENTS_BYTES_MAX } from '../src/limits.js';
import { Redactor } from '../src/sensor-agent/redaction/redactor.js';
import { compileRules } from '../src/sensor-agent/redaction/rule.js';
import type { ProcessSnapshot } from '../src/sensor-agent/source/source.js';
import { report } from './report.js';

const RUN_MS = 300;
const redactor = new Redactor(compileRules({ rules: [], off: [] }), new Pacer(1, Number.POSITIVE_INFINITY));

function exec(...args: string[]): ProcessSnapshot {
  const executablePath = `/usr/bin/${args[0]}`;
  return { pid: 1, parentPid: 1, comm: 'x', executablePath, workingDirectory: '/home/user/project', args };
}

const full = (text: string) => [exec('sh', '-c', text.repeat(Math.floor(ARGUMENTS_BYTES_MAX / text.length)))];

const KINDS: Readonly<Record<string, readonly ProcessSnapshot[]>> = {
  ordinary: [
    exec('true'),
    exec('ls', '-la', '--color=auto', '/usr/share/doc'),
    exec('mkdir', '-p', 'build/output'),
    exec('grep', '-rn', 'pattern', 'src'),
    exec('cp', '-p', 'a.txt', 'b.txt'),
    exec('sed', '-n', '10,25p', '/etc/fstab'),
    exec('node', '--enable-source-maps', 'dist/main.js', '--port', '8080'),
    exec('cc', '-O2', '-Wall', '-Iinclude', '-DNDEBUG', '-c', 'src/main.c', '-o', 'build/main.o'),
    exec('git', 'status', '--porcelain', '--branch'),
    exec('sh', '-c', 'test -d build || mkdir -p build; date +%s > build/stamp'),
  ],
  'one secret in ten': [
    ...Array.from({ length: 9 }, () => exec('cc', '-O2', '-Iinclude', '-c', 'src/main.c', '-o', 'build/main.o')),
    exec('psql', 'postgres://app:secret@db:5432/app'),
  ],
  'a password flag': [exec('app', '--password', 'hunter2', '--host', 'db')],
  'curl without a secret': [exec('curl', '-fsSL', 'https://example.org/a/b')],
  '16 KiB, no hint': full('abcdefgh '),
  '16 KiB of flags': full(' --password x'),
  '16 KiB of names': full(' token'),
  '16 KiB of "curl"': full('curl -x '),
  '16 KiB of quotes': full(`token='a"`),
};

const rows = Object.entries(KINDS).map(([kind, execs]) => {
  const round = () => {
    for (const one of execs) redactor.redact(one);
  };
  for (let warm = 0; warm < 20; warm += 1) round();
  const startMs = performance.now();
  let rounds = 0;
  for (; performance.now() - startMs < RUN_MS; rounds += 1) round();
  const microseconds = ((performance.now() - startMs) * 1000) / (rounds * execs.length);
  return { kind, 'µs per exec': Number(microseconds.toFixed(2)) };
});
report('redaction', rows);
