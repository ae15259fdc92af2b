/**
 * Machines for tests: each has its own network, processes and systemd, and a file system that is this machine's until
 * something is written to it. They are joined by a switch, and reach nobody else.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { until } from '../harness/until.js';

const SCRIPT = 'test/deploy/boot.sh';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Ends with the process that has started it, however that ends. */
const BOUND = ['--pdeathsig', 'KILL'];

export interface Said {
  readonly out: string;
  readonly err: string;
}

export class Machines {
  readonly #switch: ChildProcess;
  readonly #machines: Machine[] = [];

  private constructor(holder: ChildProcess) {
    this.#switch = holder;
  }

  static async start(): Promise<Machines> {
    const holder = spawn('setpriv', [
      ...BOUND,
      'unshare',
      '--net',
      'sh',
      '-c',
      'ip link add br0 type bridge; ip link set br0 up; echo up; exec sleep infinity',
    ]);
    await once(holder.stdout, 'data');
    return new Machines(holder);
  }

  /** `address` is one of 10.0.0.0/24; `hosts` are names of others as in /etc/hosts. */
  async machine(name: string, address: string, hosts: Readonly<Record<string, string>> = {}): Promise<Machine> {
    const namespaces = ['--mount', '--net', '--pid', '--uts', '--ipc', '--cgroup', '--fork', '--kill-child'];
    const place = scratchDirectory('machine');
    const boot = spawn('setpriv', [...BOUND, 'unshare', ...namespaces, 'bash', SCRIPT, name, place]);
    const machine = new Machine(name, address, boot);
    this.#machines.push(machine);
    await machine.up();
    const link = `m${randomBytes(4).toString('hex')}`;
    const inSwitch = ['-t', String(this.#switch.pid), '-n', 'ip', 'link'];
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', String(machine.pid)];
    execFileSync('nsenter', [...inSwitch, 'add', link, ...peer]);
    execFileSync('nsenter', [...inSwitch, 'set', link, 'master', 'br0', 'up']);
    const lines = [`address add ${address}/24 dev eth0`, 'link set eth0 up', 'link set lo up'];
    execFileSync('nsenter', ['-t', String(machine.pid), '-n', 'ip', '-batch', '-'], { input: lines.join('\n') });
    for (const [host, at] of Object.entries({ ...hosts, [name]: address })) {
      appendFileSync(machine.path('/etc/hosts'), `${at} ${host}\n`);
    }
    return machine;
  }

  /** Services are stopped in order first, as agents leave nothing behind in the kernel then. */
  async remove(): Promise<void> {
    await Promise.all(this.#machines.map((machine) => machine.remove()));
    this.#switch.kill('SIGKILL');
  }
}

export class Machine {
  /** Of its first process, as it is seen from here. */
  pid = 0;
  #log = '';
  #shell: Shell | undefined;
  readonly #started: ChildProcess[] = [];
  readonly #boot: ChildProcess;

  constructor(
    readonly name: string,
    readonly address: string,
    boot: ChildProcess,
  ) {
    this.#boot = boot;
    for (const output of [boot.stdout!, boot.stderr!]) {
      output.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text;
      });
    }
  }

  /** Where a file of the machine is from here. */
  path(file: string): string {
    return join(`/proc/${this.pid}/root`, file);
  }

  write(file: string, content: string | Buffer): void {
    writeFileSync(this.path(file), content);
  }

  read(file: string): string {
    return readFileSync(this.path(file), 'utf8');
  }

  async up(): Promise<void> {
    this.pid = await until(
      `${this.name} to begin`,
      () => {
        const child = readFileSync(`/proc/${this.#boot.pid}/task/${this.#boot.pid}/children`, 'utf8').trim();
        return child === '' ? undefined : Number(child);
      },
      () => this.#log,
    );
    await until(
      `${this.name} to be up`,
      () => {
        if (this.#boot.exitCode !== null) throw new Error(`${this.name} did not come up: ${this.#log}`);
        const asked = spawnSync('nsenter', [...this.#enter(true), 'systemctl', 'is-system-running'], {
          encoding: 'utf8',
        });
        return /running|degraded/.test(asked.stdout);
      },
      () => this.#log,
    );
  }

  /** Runs in the machine's one login shell of root, which keeps its directory and variables. @throws Error for what fails */
  run(script: string): Promise<Said> {
    this.#shell ??= new Shell(this.#spawn([...this.#enter(true), 'bash']), this);
    return this.#shell.run(script);
  }

  /** Runs beside it, in the network of this machine: for what is fetched from elsewhere. */
  fetch(script: string): void {
    const proxies = Object.entries(process.env).filter(([name]) => /^npm_config_|_proxy$/i.test(name));
    const env = { ...Object.fromEntries(proxies), PATH, HOME: '/root', npm_config_prefer_offline: 'true' };
    const [program, ...args] = ['nsenter', ...this.#enter(false), 'bash', '-ec', script];
    execFileSync(program!, args, { env, stdio: 'pipe' });
  }

  /** Runs beside it until it is stopped. */
  start(script: string): ChildProcess {
    return this.#spawn([...this.#enter(true), 'bash', '-c', script]);
  }

  async remove(): Promise<void> {
    if (this.#boot.exitCode !== null) return;
    spawnSync('nsenter', [...this.#enter(true), 'systemctl', 'stop', 'backplane-agent', 'backplane-broker']);
    for (const child of this.#started) child.kill('SIGKILL');
    const ended = once(this.#boot, 'close');
    this.#boot.kill('SIGKILL');
    await ended;
  }

  #enter(ownNetwork: boolean): string[] {
    const namespaces = ['-m', '-p', '-u', '-i', '-C', ...(ownNetwork ? ['-n'] : [])];
    return ['-t', String(this.pid), ...namespaces, '-r', '-w'];
  }

  #spawn(args: readonly string[]): ChildProcess {
    const env = { PATH, HOME: '/root', LANG: 'C.UTF-8', NO_COLOR: '1' };
    const child = spawn('setpriv', [...BOUND, 'nsenter', ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#started.push(child);
    return child;
  }
}

class Shell {
  #heard = '';
  #runs = 0;
  readonly #bash: ChildProcess;
  readonly #machine: Machine;

  constructor(bash: ChildProcess, machine: Machine) {
    this.#bash = bash;
    this.#machine = machine;
    for (const output of [bash.stdout!, bash.stderr!]) {
      output.setEncoding('utf8').on('data', (text: string) => {
        this.#heard += text;
      });
    }
    // A command that fails in the middle is told at the end.
    bash.stdin!.write('cd /root; set -E; trap \'failed+=" $BASH_COMMAND"\' ERR\n');
  }

  async run(script: string): Promise<Said> {
    const at = `/run/script-${++this.#runs}`;
    const done = `done-${this.#runs}:`;
    this.#machine.write(at, `${script}\n`);
    this.#bash.stdin!.write(`failed=; . ${at} < /dev/null > ${at}.out 2> ${at}.err; echo "${done}$failed;"\n`);
    const [, failed = ''] = await until(
      `the end of ${script}`,
      () => new RegExp(`${done}([\\s\\S]*?);\n`).exec(this.#heard) ?? undefined,
      () => this.#heard,
    );
    const said = { out: this.#machine.read(`${at}.out`), err: this.#machine.read(`${at}.err`) };
    if (failed === '') return said;
    throw new Error(`${this.#machine.name}: failed:${failed}\n${said.out}${said.err}`);
  }
}
