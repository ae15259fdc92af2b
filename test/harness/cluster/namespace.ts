/**
 * A network namespace for one party, with a veth pair to the host's: there the
 * kernel itself loses packets and lets few through. Only where the test is root
 * on Linux, which is found out by trying.
 *
 * Namespace and host end have one name, NAME = bp<pid>-<block>, which says whose
 * they are and which addresses they have: block b of 198.18.0.0/15 (kept for
 * tests by RFC 2544), four addresses each, 1 the host's and 2 the party's.
 */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';

const NAME = /^bp(\d+)-(\d+)$/;
const BLOCKS = 2 ** 17 / 4;
const LIST = '/run/netns';
const PARTY_END = 'eth0';
const COMMAND_MS = 60_000;

export class Namespace {
  readonly hostAddress: string;
  readonly partyAddress: string;

  private constructor(readonly name: string) {
    this.hostAddress = address(name, 1);
    this.partyAddress = address(name, 2);
  }

  /** @throws Error where this process or kernel cannot */
  static create(): Namespace {
    const taken = new Set(names().map((name) => NAME.exec(name)![2]));
    let block: number;
    do block = randomInt(BLOCKS);
    while (taken.has(String(block)));
    const namespace = new Namespace(`bp${process.pid}-${block}`);
    try {
      namespace.#build();
    } catch (cause) {
      remove(namespace.name);
      throw cause;
    }
    return namespace;
  }

  /** What stands before a command to have it run there, as the process that was started. */
  get enter(): readonly string[] {
    return ['nsenter', `--net=${LIST}/${this.name}`];
  }

  /** From now on every packet is lost, both ways. */
  down(): void {
    run('ip', ['link', 'set', this.name, 'down']);
  }

  /** From now on nothing that the party sends leaves it. */
  mute(): void {
    run('ip', ['-n', this.name, 'route', 'replace', 'blackhole', `${this.hostAddress}/32`]);
  }

  up(): void {
    run('ip', ['link', 'set', this.name, 'up']);
  }

  /** Both ways, what is beyond it waits for 400 ms and is lost then. */
  narrow(kilobitsPerSecond: number): void {
    const rate = ['root', 'tbf', 'rate', `${kilobitsPerSecond}kbit`, 'burst', '16kb', 'latency', '400ms'];
    run('tc', ['qdisc', 'replace', 'dev', this.name, ...rate]);
    run('tc', ['-n', this.name, 'qdisc', 'replace', 'dev', PARTY_END, ...rate]);
  }

  widen(): void {
    run('tc', ['qdisc', 'delete', 'dev', this.name, 'root']);
    run('tc', ['-n', this.name, 'qdisc', 'delete', 'dev', PARTY_END, 'root']);
  }

  /** Removes the namespace, and kills the processes still in it. */
  remove(): void {
    remove(this.name);
  }

  #build(): void {
    run('ip', ['netns', 'add', this.name]);
    batch([
      `link add ${this.name} type veth peer name ${PARTY_END} netns ${this.name}`,
      `address add ${this.hostAddress}/30 dev ${this.name}`,
      `link set ${this.name} up`,
      // While the link is down its route is gone: nothing for the party may leave by another.
      `route add unreachable ${address(this.name, 0)}/30 metric 4096`,
    ]);
    batch(
      [`address add ${this.partyAddress}/30 dev ${PARTY_END}`, `link set ${PARTY_END} up`, 'link set lo up'],
      ['-n', this.name],
    );
  }
}

/** Why there can be no namespaces here, and no rates of links; undefined: there can. */
export interface Refusals {
  readonly namespaces: string | undefined;
  readonly rates: string | undefined;
}

let refusals: Refusals | undefined;

/** The first call tries it, after it has removed what test processes that are dead have left. */
export function refused(): Refusals {
  refusals ??= attempt();
  return refusals;
}

function attempt(): Refusals {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { namespaces: 'needs root on Linux', rates: 'needs root on Linux' };
  for (const name of names()) if (!alive(Number(NAME.exec(name)![1]))) remove(name);
  let namespace: Namespace | undefined;
  try {
    const namespaces = failure(() => {
      namespace = Namespace.create();
      const [command, ...args] = namespace.enter;
      run(command!, [...args, 'true']);
    });
    return { namespaces, rates: namespaces ?? failure(() => namespace!.narrow(1_000)) };
  } finally {
    namespace?.remove();
  }
}

function failure(act: () => void): string | undefined {
  try {
    act();
    return undefined;
  } catch (cause) {
    return String(cause).trim().replaceAll('\n', ': ');
  }
}

/** All namespaces of this harness, of any test process. */
function names(): string[] {
  try {
    return readdirSync(LIST).filter((name) => NAME.test(name));
  } catch {
    return [];
  }
}

function alive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

function remove(name: string): void {
  // Half of it may be missing: its owner was killed while it made or removed it.
  failure(() => {
    for (const pid of run('ip', ['netns', 'pids', name]).split('\n').filter(Boolean))
      process.kill(Number(pid), 'SIGKILL');
  });
  failure(() => run('ip', ['route', 'delete', 'unreachable', `${address(name, 0)}/30`, 'metric', '4096']));
  failure(() => run('ip', ['link', 'delete', name]));
  const left = failure(() => run('ip', ['netns', 'delete', name]));
  if (left !== undefined && names().includes(name)) throw new Error(left);
}

function address(name: string, host: number): string {
  const at = Number(NAME.exec(name)![2]) * 4 + host;
  return `198.${18 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`;
}

/** In one process, which stops at the first that fails. */
function batch(lines: readonly string[], options: readonly string[] = []): void {
  run('ip', [...options, '-batch', '-'], lines.join('\n'));
}

function run(command: string, args: readonly string[], input = ''): string {
  return execFileSync(command, args, { input, timeout: COMMAND_MS, stdio: 'pipe', encoding: 'utf8' });
}
