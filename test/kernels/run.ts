/**
 * `npm run test:kernels -- [--arch amd64|arm64] [smoke] [5.10|6.1|6.12|newest]... [-- TEST...]`: starts kernels of the
 * distribution in an emulator and runs there what the sensor must do on each; `smoke`: only what has an event of every
 * kind. Software emulation: some twenty times slower than the machine, so that nothing there is measured.
 */
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { tablesThatDiffer } from './headers.js';
import { GUEST_ROOT, writeImage } from './image.js';
import { MACHINES } from './machines.js';
import { headers, type Kernel, kernelOf, programsOf, RELEASES } from './packages.js';
import { type KernelResult, writeTable } from './table.js';

const SMOKE = ['kernels/inside/events', 'end-to-end/kernel/paths'];
/** What runs there unless some are named. */
const TESTS = [
  ...SMOKE,
  'sensor-agent/source/probe/exec-probe',
  'sensor-agent/source/tracefs/earlier-version',
  'kernels/inside/attack',
  'kernels/inside/opens',
  'end-to-end/kernel/exits',
  'end-to-end/kernel/accepts',
  'sensor-agent/source/calls/call-points',
  'end-to-end/kernel/names',
  'end-to-end/kernel/changes',
  'sensor-agent/source/datagrams/datagram-points',
  'end-to-end/kernel/udp',
];
/** Of these a kernel complains; each fails the run. */
const COMPLAINT = /\b(WARNING: CPU|BUG:|Oops|general protection fault|Kernel panic|rcu: INFO|Call Trace:)/;
const ENDED = /^KERNEL-TESTS (\d+)/;
const DOCTOR = /^KERNEL-DOCTOR (\{.*\})$/;
const TEST = /^(not )?ok \d+ - (.*?)( # SKIP.*)?$/;

const [words, tests] = split(process.argv.slice(2));
const [architecture, asked] = ofArchitecture(words);
const machine = MACHINES[architecture] ?? fail(`--arch must be ${Object.keys(MACHINES).join(' or ')}`);
const names = asked.filter((name) => name !== 'smoke');
for (const name of names)
  if (RELEASES[name] === undefined) fail(`${name} is no kernel: expected ${Object.keys(RELEASES).join(', ')}`);
const differences = tablesThatDiffer(headers());
for (const difference of differences) console.log(`# ${difference}`);
installEmulator();
const wanted = names.length > 0 ? names : machine.kernels;
const folder = fs.mkdtempSync(path.join(tmpdir(), 'backplane-kernels-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
const all = asked.includes('smoke') ? SMOKE : TESTS;
const kernels = wanted.map((name) => kernelOf(name, architecture));
const image = writeImage(
  path.join(folder, 'image'),
  init(tests.length > 0 ? tests : all),
  programsOf(architecture),
  kernels,
);
let failed = differences.length;
const results: KernelResult[] = [];
for (const kernel of kernels) if (!(await runOn(kernel))) failed += 1;
// The table of an architecture is of all its kernels and all tests.
if (failed === 0 && tests.length === 0 && all === TESTS && wanted.length === machine.kernels.length)
  writeTable(fileURLToPath(new URL('../../../docs/kernels.md', import.meta.url)), architecture, results);
process.exit(failed === 0 ? 0 : 1);

function split(args: readonly string[]): [string[], string[]] {
  const at = args.indexOf('--');
  return at < 0 ? [[...args], []] : [args.slice(0, at), args.slice(at + 1)];
}

function ofArchitecture(args: readonly string[]): [string, string[]] {
  const at = args.indexOf('--arch');
  return at < 0 ? ['amd64', [...args]] : [args[at + 1] ?? '', args.toSpliced(at, 2)];
}

/** The first program of the guest. */
function init(files: readonly string[]): string {
  const paths = files.map(
    (file) => `dist/test/${file.replace(/^test\//, '').replace(/(\.test)?\.[tj]s$/, '')}.test.js`,
  );
  return `#!/bin/sh
export PATH=/usr/sbin:/usr/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tracefs tracefs /sys/kernel/tracing
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
echo guest > /proc/sys/kernel/hostname
cd ${GUEST_ROOT}
# Others that crowd the machine are not seen from here. Not BACKPLANE_: commands warn of settings that they do not know.
export TEST_SLOWNESS=10
node dist/program/main.js doctor -o json | while read -r line; do echo "KERNEL-DOCTOR $line"; done
node --test --test-concurrency=1 --test-reporter=tap ${paths.join(' ')}
echo "KERNEL-TESTS $?"
echo o > /proc/sysrq-trigger
sleep 60
`;
}

async function runOn({ release, image: kernel }: Kernel): Promise<boolean> {
  console.log(`# Linux ${release}`);
  const beganMs = performance.now();
  const hardware = [...machine.hardware, '-smp', '2', '-m', '3G', '-nographic', '-no-reboot', '-nic', 'none'];
  const words = [...machine.words, 'panic=-1', 'quiet', 'loglevel=4'].join(' ');
  const boot = ['-kernel', kernel, '-initrd', image, '-append', words];
  const guest = spawn(machine.emulator, [...hardware, ...boot], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => guest.kill('SIGKILL'));
  const complaints: string[] = [];
  const checks = new Map<string, { state: string; detail: string }>();
  const done: { title: string; state: 'passed' | 'failed' | 'skipped' }[] = [];
  let code: number | undefined;
  for await (const line of createInterface({ input: guest.stdout })) {
    const text = line.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
    if (COMPLAINT.test(text)) complaints.push(text);
    const check = DOCTOR.exec(text)?.[1];
    if (check !== undefined) {
      const { name: of, ...said } = JSON.parse(check) as { name: string; state: string; detail: string };
      checks.set(of, said);
      continue;
    }
    const test = TEST.exec(text);
    if (test) done.push({ title: test[2]!, state: test[3] ? 'skipped' : test[1] ? 'failed' : 'passed' });
    code = ENDED.exec(text) ? Number(ENDED.exec(text)![1]) : code;
    console.log(text);
  }
  results.push({ release, checks, tests: done });
  const passed = code === 0 && complaints.length === 0;
  for (const complaint of complaints) console.log(`# the kernel complains: ${complaint}`);
  const seconds = Math.round((performance.now() - beganMs) / 1000);
  console.log(`# Linux ${release}: ${passed ? 'passed' : 'FAILED'} after ${seconds} s`);
  return passed;
}

function installEmulator(): void {
  const { emulator, emulatorPackage } = machine;
  const there = () => spawnSync('sh', ['-c', `command -v ${emulator}`]).status === 0;
  if (there()) return;
  if (process.getuid?.() === 0)
    spawnSync('apt-get', ['install', '-y', '--no-install-recommends', emulatorPackage], { stdio: 'ignore' });
  if (!there()) fail(`${emulator} is missing: install ${emulatorPackage}`);
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}
