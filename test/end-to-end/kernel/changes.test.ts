/** What changes of a process without a program being started: its container, its user, its working directory. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Bus, cannotTrace, type EventLine, type Observer } from '../../harness/bus/bus.js';
import { firstLine } from '../../harness/first-line.js';
import { cannotProbeKernel } from '../../harness/kernel/live-kernel.js';
import { ownAddress } from '../../harness/own-address.js';
import { until } from '../../harness/until.js';

const skip = cannotTrace;
const FIELDS = 'process,container,network,process.login_user.id,process.tty';

let bus: Bus;
let server: Server;
let host = '';
let port = '';
const children: ChildProcess[] = [];
before(async () => {
  if (skip) return;
  [host = '', port = ''] = (await ownAddress()).split(':');
  server = createServer((socket) => socket.resume().on('error', () => {})).listen(Number(port), host);
  bus = await Bus.start();
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  server?.close();
  if (!skip) await bus.destroy();
});

/** A shell or Node that does what it is told, line by line: a child that reads ends at the next. Itself makes connections. */
function started(program: string, ...args: string[]): { readonly pid: number; readonly tell: (line: string) => void } {
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'inherit'] });
  children.push(child);
  return { pid: child.pid!, tell: (line) => child.stdin.write(`${line}\n`) };
}

const CONNECT = () => `exec 3<>/dev/tcp/${host}/${port}; exec 3>&-`;
const shell = () => started('bash', '-c', 'while read line; do eval "$line"; done');

const connectsAgain = (observer: Observer, pid: number): Promise<EventLine> => {
  const isIt = ({ type, process }: EventLine) => type === 'network.tcp.connect' && process?.pid === pid;
  const earlier = observer.events.filter(isIt).length;
  return observer.sees((event) => isIt(event) && observer.events.filter(isIt).indexOf(event) >= earlier);
};

const follows = () => bus.follow('--filter', `network.peer.address == "${host}"`, '--field-mask', FIELDS);

/** Hierarchies of both versions, mounted for a while. */
const HIERARCHIES = [
  ['version 2', ['-t', 'cgroup2', 'none']],
  ['version 1', ['-t', 'cgroup', '-o', `none,name=backplane${randomBytes(4).toString('hex')}`, 'none']],
] as const;

for (const [version, mount] of HIERARCHIES) {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-cgroups-'));
  const mounted = skip ? undefined : spawnSync('mount', [...mount, folder]);
  const cannot = skip || (mounted?.status === 0 ? false : `cannot mount cgroups: ${mounted?.stderr}`);

  test(`a process that is moved into a container is in it at once, and what it forks, too (${version})`, {
    skip: cannot,
  }, async () => {
    const id = randomBytes(32).toString('hex');
    const above = join(folder, `backplane-${randomBytes(4).toString('hex')}`);
    const place = join(above, id);
    mkdirSync(place, { recursive: true });
    const observer = await follows();
    const { pid, tell } = shell();
    const connects = async () => {
      const seen = connectsAgain(observer, pid);
      tell(CONNECT());
      return (await seen).container?.id;
    };
    const outside = await connects();
    writeFileSync(join(place, 'cgroup.procs'), String(pid));
    assert.equal(await connects(), id);
    // A child that starts no program, and one that does.
    tell(`(${CONNECT()}; read x)`);
    const forked = await observer.sees(
      ({ type, process }) => type === 'network.tcp.connect' && process?.parentPid === pid,
    );
    assert.equal(forked.container?.id, id);
    tell('');
    tell(`bash -c '${CONNECT()}; read x' made-${id}`);
    await observer.sees(
      ({ process, container }) => process?.commandArgs?.includes(`made-${id}`) === true && container?.id === id,
    );
    tell('');
    writeFileSync(join(folder, 'cgroup.procs'), String(pid));
    assert.equal(await connects(), outside);
    await observer.stop('SIGINT');
    const history = bus.observe('--since', '1h', '--filter', `container.id == "${id}"`, '--field-mask', FIELDS);
    assert.equal(await history.exited, 0, history.stderr);
    const same = history.events.filter(({ position }) => position.timeNs === forked.position.timeNs);
    assert.deepEqual(
      same.map(({ process, container }) => [process, container]),
      [[forked.process, forked.container]],
    );
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const path of [place, above]) await until('that it is empty', () => removed(path));
  });

  after(() => {
    if (mounted?.status === 0) spawnSync('umount', [folder]);
    rmdirSync(folder);
  });
}

function removed(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Root that becomes somebody else, and itself again: by the effective user alone, which is what counts. Not every Node may. */
const BECOMES = `
use Socket;
while (<STDIN>) {
  my ($user, $host, $port) = split;
  $> = $user;
  socket(my $socket, PF_INET, SOCK_STREAM, 0);
  connect($socket, sockaddr_in($port, inet_aton($host)));
}
`;

test('a process that becomes another user without an exec is told as that', { skip }, async () => {
  const observer = await follows();
  const { pid, tell } = started('perl', '-e', BECOMES);
  for (const user of [0, 65_534, 0, 12_345]) {
    const seen = connectsAgain(observer, pid);
    tell(`${user} ${host} ${port}`);
    const { process: told } = await seen;
    assert.deepEqual([told!.user?.id, told!.inferred?.includes('user') ?? false], [user, false]);
  }
  await observer.stop('SIGINT');
});

/** Is somebody else only while it connects: whoever looks later sees root. */
const FOR_A_MOMENT = BECOMES.replace(');\n}', ');\n  $> = 0;\n}');

test('a process that is another user for a moment only is told as that, where the kernel has kprobes', {
  skip: skip || cannotProbeKernel(),
}, async () => {
  const observer = await follows();
  const { pid, tell } = started('perl', '-e', FOR_A_MOMENT);
  for (const user of [65_534, 12_345]) {
    const seen = connectsAgain(observer, pid);
    tell(`${user} ${host} ${port}`);
    assert.equal((await seen).process!.user?.id, user);
  }
  await observer.stop('SIGINT');
});

test('what a child has of its parent is said to be inferred, until it was looked at', { skip }, async () => {
  const observer = await bus.follow('--filter', `network.peer.address == "${host}" || event.type == "process.fork"`);
  const directory = mkdtempSync(join(tmpdir(), 'backplane-directory-'));
  const { pid, tell } = shell();
  // Until there is nothing more to read.
  tell(`(cd ${directory}; while ${CONNECT()}; read -t 0.2 x <&0; [ $? -gt 128 ]; do :; done)`);
  // The shell may have forked others as it began (BASH_ENV).
  const { process: child } = await observer.sees(
    ({ type, process }) => type === 'network.tcp.connect' && process?.parentPid === pid,
  );
  const fork = await observer.sees(({ type, process }) => type === 'process.fork' && process?.pid === child!.pid);
  assert.ok(fork.process!.inferred?.includes('working_directory'));
  assert.notEqual(fork.process!.workingDirectory, directory);
  const looked = await observer.sees(
    ({ type, process }) =>
      type === 'network.tcp.connect' && process?.pid === fork.process!.pid && process.inferred === undefined,
  );
  assert.equal(looked.process!.workingDirectory, directory);
  await observer.stop('SIGINT');
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await until('that nobody is there', () => removed(directory));
});

test('who logged in is told where it is named, and inherited', { skip }, async () => {
  const exec = 'event.type == "process.exec" && "who-logged-in" in process.command_args';
  const named = await bus.follow('--filter', exec, '--field-mask', FIELDS);
  const plain = await bus.follow('--filter', exec);
  const { pid, tell } = shell();
  tell('echo 4711 >/proc/self/loginuid');
  let told: NonNullable<EventLine['process']>;
  let word: string;
  const isIt = ({ process }: EventLine) => process?.parentPid === pid && process.commandArgs?.includes(word) === true;
  do {
    word = randomBytes(8).toString('hex');
    tell(`sh -c 'read line' ${word} who-logged-in`);
    told = (await named.sees(isIt)).process!;
    assert.ok(told.inferred !== undefined || told.loginUser?.id === loginUid(told.pid), JSON.stringify(told));
    tell('');
    // Where an agent has more to look up than it may, it does not look.
  } while (told.inferred !== undefined);
  const usual = (await plain.sees(isIt)).process!;
  assert.deepEqual([usual.loginUser, usual.tty], [undefined, undefined]);
  for (const observer of [named, plain]) await observer.stop('SIGINT');
  const history = bus.observe(
    '--since',
    '1h',
    '--filter',
    `${exec} && "${word}" in process.command_args`,
    '--field-mask',
    FIELDS,
  );
  assert.equal(await history.exited, 0, history.stderr);
  assert.deepEqual(
    history.events.map(({ process }) => process),
    [told],
  );
});

/** As the kernel has it: where somebody had logged in, only who may change that does; without audit it has none. */
function loginUid(pid: number): number | undefined {
  const path = `/proc/${pid}/loginuid`;
  const uid = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0xffff_ffff;
  return uid === 0xffff_ffff ? undefined : uid;
}

/** Says who takes in the orphans, within and without, and who is one and waits to start its programs. */
const NESTED = `
import ctypes, os, sys, time
takes_in = lambda: ctypes.CDLL(None).prctl(36, 1)
takes_in()
if os.fork() == 0:
    takes_in()
    within = os.getpid()
    if os.fork() == 0:
        if os.fork() > 0: os._exit(0)
        while os.getppid() != within: time.sleep(0.01)
        print(os.getppid(), os.getpid(), flush=True)
        again = 'read line; exec sh -c "read line" ' + sys.argv[1] + ' without'
        os.execvp('sh', ['sh', '-c', again, sys.argv[1], 'within'])
    while True: time.sleep(60)
while True: time.sleep(60)
`;
const noPython = spawnSync('python3', ['--version']).status === 0 ? false : 'needs python3';

test('an orphan that starts a program has the parent that took it in, the nearest that does', {
  skip: skip || noPython,
}, async () => {
  const observer = await bus.follow('--filter', 'event.type == "process.exec"');
  let read: EventLine[];
  do {
    const word = randomBytes(8).toString('hex');
    const outer = spawn('python3', ['-c', NESTED, word], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(outer);
    const [inner, orphan] = (await firstLine(outer.stdout)).split(' ').map(Number) as [number, number];
    const execOf = (where: string) =>
      observer.sees(
        ({ process }) => process?.pid === orphan && [word, where].every((one) => process.commandArgs?.includes(one)),
      );
    read = [await execOf('within')];
    process.kill(inner, 'SIGKILL');
    await until('that the outer one took it in', () => parentOf(orphan) === outer.pid);
    outer.stdin.write('\n');
    read.push(await execOf('without'));
    process.kill(orphan, 'SIGKILL');
    outer.kill('SIGKILL');
    // Where an agent has more to look up than it may, it does not look.
    if (read.some((event) => event.process!.inferred !== undefined)) continue;
    assert.deepEqual(
      read.map((event) => event.process!.parentPid),
      [inner, outer.pid],
    );
  } while (read.some((event) => event.process!.inferred !== undefined));
  await observer.stop('SIGINT');
});

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

test('the user of a process in a user namespace is the one that the host knows', { skip }, async (t) => {
  const within = ['--reuid', '12345', '--clear-groups', 'unshare', '--user'];
  if (spawnSync('setpriv', [...within, 'true']).status !== 0) return t.skip('may not make user namespaces');
  const observer = await follows();
  const { pid, tell } = started('setpriv', ...within, 'bash', '-c', 'while read line; do eval "$line"; done');
  const seen = connectsAgain(observer, pid);
  tell(CONNECT());
  assert.equal((await seen).process!.user?.id, 12_345);
  await observer.stop('SIGINT');
});

/** Goes on in another cgroup from its first moment on, and connects again and again. */
const BEGUN_ELSEWHERE = `
import ctypes, os, socket, struct, sys, time
place, host, port = os.open(sys.argv[1], os.O_RDONLY), sys.argv[2], int(sys.argv[3])
CLONE_INTO_CGROUP, SIGCHLD = 1 << 33, 17
args = struct.pack('11Q', CLONE_INTO_CGROUP, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, place)
if ctypes.CDLL(None, use_errno=True).syscall(435, args, len(args)) == 0:
    while True:
        socket.create_connection((host, port)).close()
        time.sleep(0.1)
os.wait()
`;

test('a process that is begun in another container than its parent is never told as in that', {
  skip: skip || noPython,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-cgroups-'));
  if (spawnSync('mount', ['-t', 'cgroup2', 'none', folder]).status !== 0) return rmdirSync(folder);
  const above = join(folder, `backplane-${randomBytes(4).toString('hex')}`);
  const [own, other] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
  const places = [own, other].map((id) => join(above, id));
  for (const place of places) mkdirSync(place, { recursive: true });
  const observer = await follows();
  // The shell becomes the program once it has been moved.
  const { pid, tell } = started(
    'bash',
    '-c',
    'read line; exec python3 "$@"',
    'x',
    '-c',
    BEGUN_ELSEWHERE,
    places[1]!,
    host,
    port,
  );
  writeFileSync(join(places[0]!, 'cgroup.procs'), String(pid));
  tell('');
  const isChilds = ({ type, process }: EventLine) => type === 'network.tcp.connect' && process?.parentPid === pid;
  await observer.sees((event) => isChilds(event) && event.container?.id === other);
  const told = new Set(observer.events.filter(isChilds).map(({ container }) => container?.id));
  assert.ok(!told.has(own), [...told].join());
  await observer.stop('SIGINT');
  for (const { process } of observer.events.filter(isChilds).slice(0, 1))
    spawnSync('kill', ['-KILL', `${process!.pid}`]);
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const path of [...places, above]) await until('that it is empty', () => removed(path));
  spawnSync('umount', [folder]);
  rmdirSync(folder);
});
