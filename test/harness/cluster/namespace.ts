/**
 * A network namespace for one party, with a veth pair to the host's: there the
 * kernel itself loses packets and lets few through. Only where the test is root
 * on Linux, which is found out by trying.
 *
 * Namespace and host end have one name, NAME = bp<pid>-<block>, which says whose
 * they are and which addresses they have: block b of 198.18.0.0/15 (kept for
 * tests by RFC 2544), four addresses each, 1 the host's and 2 the party's.
 *
 * Parties that reach each other are on a bridge, which has a block, too, and the
 * 31 behind it are theirs.
 */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';

const NAME = /^bp(\d+)-(\d+)$/;
const BLOCKS = 2 ** 17 / 4;
/** A bridge begins at a multiple of so many blocks, in the upper half; lone parties have the lower one. */
const BRIDGE_BLOCKS = 32;
const ALONE_BITS = 30;
const BRIDGE_BITS = 25;
/** Nobody has this hardware address: what is sent there is lost. */
const NOWHERE = '02:00:00:00:00:01';
const LIST = '/run/netns';
const LINKS = '/sys/class/net';
const PARTY_END = 'eth0';
const COMMAND_MS = 60_000;

export class Namespace {
  readonly hostAddress: string;
  readonly partyAddress: string;
  readonly #bridge: string | undefined;

  private constructor(
    readonly name: string,
    bridge?: string,
  ) {
    this.#bridge = bridge;
    this.hostAddress = address(bridge ?? name, 1);
    this.partyAddress = address(name, 2);
  }

  /** @throws Error where this process or kernel cannot */
  static create(): Namespace {
    return new Namespace(freeName(0, 1)).#built();
  }

  /** Of the party at place `at` of a bridge, from 1 on. */
  static on(bridge: Bridge, at: number): Namespace {
    if (at >= BRIDGE_BLOCKS) throw new Error(`a bridge has places up to ${BRIDGE_BLOCKS - 1}, got ${at}`);
    const block = Number(NAME.exec(bridge.name)![2]) + at;
    return new Namespace(`bp${process.pid}-${block}`, bridge.name).#built();
  }

  #built(): this {
    try {
      this.#build();
    } catch (cause) {
      remove(this.name);
      throw cause;
    }
    return this;
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

  /** Whatever they send each other is lost without a word, until `joined`. Both are on one bridge. */
  parted(other: Namespace): void {
    for (const [own, far] of [[this, other] as const, [other, this] as const]) {
      own.#neighbour('replace', far, 'lladdr', NOWHERE, 'nud', 'permanent');
    }
  }

  joined(other: Namespace): void {
    this.#neighbour('delete', other);
    other.#neighbour('delete', this);
  }

  #neighbour(change: 'replace' | 'delete', other: Namespace, ...how: readonly string[]): void {
    run('ip', ['-n', this.name, 'neigh', change, other.partyAddress, 'dev', PARTY_END, ...how]);
  }

  #build(): void {
    run('ip', ['netns', 'add', this.name]);
    const bits = this.#bridge === undefined ? ALONE_BITS : BRIDGE_BITS;
    const hostEnd =
      this.#bridge === undefined
        ? [
            `address add ${this.hostAddress}/${bits} dev ${this.name}`,
            // While the link is down its route is gone: nothing for the party may leave by another.
            `route add unreachable ${address(this.name, 0)}/${bits} metric 4096`,
          ]
        : [`link set ${this.name} master ${this.#bridge}`];
    const veth = `link add ${this.name} type veth peer name ${PARTY_END} netns ${this.name}`;
    batch([veth, `link set ${this.name} up`, ...hostEnd]);
    batch(
      [`address add ${this.partyAddress}/${bits} dev ${PARTY_END}`, `link set ${PARTY_END} up`, 'link set lo up'],
      ['-n', this.name],
    );
  }
}

/** What connects parties with each other and with the host. */
export class Bridge {
  readonly hostAddress: string;

  private constructor(readonly name: string) {
    this.hostAddress = address(name, 1);
  }

  /** @throws Error where this process or kernel cannot */
  static create(): Bridge {
    const bridge = new Bridge(freeName(BLOCKS / 2, BRIDGE_BLOCKS));
    try {
      batch([
        `link add ${bridge.name} type bridge`,
        `address add ${bridge.hostAddress}/${BRIDGE_BITS} dev ${bridge.name}`,
        `link set ${bridge.name} up`,
      ]);
    } catch (cause) {
      bridge.remove();
      throw cause;
    }
    return bridge;
  }

  /** After the namespaces on it. */
  remove(): void {
    remove(this.name);
  }
}

/** With a block from `first` on, at a multiple of `step`; half of all blocks are from each `first`. */
function freeName(first: number, step: number): string {
  const taken = new Set(names().map((name) => Number(NAME.exec(name)![2])));
  let block: number;
  do block = first + randomInt(BLOCKS / 2 / step) * step;
  while (taken.has(block));
  return `bp${process.pid}-${block}`;
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

/** All namespaces, links and bridges of this harness, of any test process. */
function names(): string[] {
  const all = [LIST, LINKS].flatMap((dir) => (existsSync(dir) ? readdirSync(dir) : []));
  return [...new Set(all.filter((name) => NAME.test(name)))];
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
  failure(() => run('ip', ['route', 'delete', 'unreachable', `${address(name, 0)}/${ALONE_BITS}`, 'metric', '4096']));
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
