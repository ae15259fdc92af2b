/** Where a fleet of agents connects: one broker with a log of its own, or two on NATS. */
import { run } from '../../test/harness/bus/command.js';
import { NatsServers } from '../../test/harness/nats/nats-servers.js';
import { until } from '../../test/harness/until.js';
import { Fleet } from './fleet.js';
import { cpuSeconds, residentMiB, runDelaySeconds } from './process-cost.js';

const CLUSTER = 'bench';
const LOG_BYTES_MAX = '1GiB';
const WARNINGS = 20;

export interface SiteBroker {
  readonly grpc: string;
  readonly token: string;
  readonly pid: number;
}

export class Site {
  readonly #fleets: readonly Fleet[];
  readonly #servers: NatsServers | undefined;

  private constructor(fleets: readonly Fleet[], servers: NatsServers | undefined) {
    this.#fleets = fleets;
    this.#servers = servers;
  }

  /** @param servers of NATS, for two brokers; 0: one broker without */
  static async start(servers: 0 | 1 | 3): Promise<Site> {
    if (servers === 0) return await ready(new Site([await Fleet.start()], undefined));
    const nats = await NatsServers.start({ count: servers });
    const init = await run([
      'cluster',
      'init',
      '--nats',
      nats.urls,
      '--cluster',
      CLUSTER,
      '--log-bytes-max',
      LOG_BYTES_MAX,
    ]);
    if (init.code !== 0) throw new Error(init.err);
    const settings = { BACKPLANE_NATS_SERVERS: nats.urls, BACKPLANE_NATS_CLUSTER: CLUSTER };
    return await ready(new Site([await Fleet.start(settings), await Fleet.start(settings)], nats));
  }

  get brokers(): SiteBroker[] {
    return this.#fleets.map(({ grpc, token, commands }) => ({ grpc, token, pid: commands[0]!.child.pid! }));
  }

  async ready(): Promise<void> {
    for (const { http, commands } of this.#fleets) {
      const isReady = () =>
        fetch(`http://${http}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        );
      await until('the broker', isReady, () => commands[0]!.said.slice(-2_000));
    }
  }

  /** CPU seconds of each process so far. */
  cpu(): { readonly brokers: readonly number[]; readonly servers: readonly number[] } {
    const servers = this.#servers?.servers.map(({ pid }) => pid!) ?? [];
    return { brokers: this.brokers.map(({ pid }) => cpuSeconds(pid)), servers: servers.map(cpuSeconds) };
  }

  /** Seconds for which the loop of each broker was ready, and others had the processors. */
  starved(): number[] {
    return this.brokers.map(({ pid }) => runDelaySeconds(pid));
  }

  /** MiB of each broker. */
  resident(): number[] {
    return this.brokers.map(({ pid }) => residentMiB(pid));
  }

  /** Messages that clients have sent to the servers, or were sent by them, so far. */
  async messages(): Promise<number> {
    let sum = 0;
    for (const { monitorUrl } of this.#servers?.servers ?? []) {
      const told = (await (await fetch(`${monitorUrl}/varz`)).json()) as { in_msgs: number; out_msgs: number };
      sum += told.in_msgs + told.out_msgs;
    }
    return sum;
  }

  /** What brokers and servers have logged as a warning or worse, and that servers elected leaders; the last lines of each. */
  warnings(): string[] {
    const brokers = this.#fleets.map(({ commands }) => linesOf(commands[0]!.said, /"level":[456]0/));
    const servers = (this.#servers?.servers ?? []).map(({ output }) => linesOf(output, /\[(WRN|ERR)\]|new .*leader/));
    return [...brokers, ...servers].flat();
  }

  async destroy(): Promise<void> {
    for (const fleet of this.#fleets) await fleet.destroy();
    await this.#servers?.destroy();
  }
}

function linesOf(text: string, pattern: RegExp): string[] {
  const lines = text.split('\n').filter((line) => pattern.test(line));
  return lines.slice(-WARNINGS);
}

async function ready(site: Site): Promise<Site> {
  await site.ready();
  return site;
}
