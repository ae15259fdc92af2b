/** One broker and its agents, each a command of its own, in a directory that is removed with them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../../src/client/client.js';
import { Command } from '../../test/harness/bus/bus.js';
import { bearer, credentialIn, tokenFile } from '../../test/harness/bus/token.js';
import { ownAddress } from '../../test/harness/own-address.js';

/** Settings of an agent that makes its own events: making them is its work here, and no overhead to be cut. */
export const SYNTHETIC = { BACKPLANE_SOURCE: 'synthetic', BACKPLANE_AGENT_GUARD_CPU: '0' } as const;

export class Fleet {
  readonly #dir = mkdtempSync(join(tmpdir(), 'backplane-bench-'));
  readonly #brokerDir = join(this.#dir, 'broker');
  readonly #clients: Client[] = [];
  /** All that were started, the broker first. */
  readonly commands: Command[] = [];

  private constructor(
    readonly grpc: string,
    readonly http: string,
  ) {}

  /** @param settings the broker's beyond its directory and addresses; or what makes them, for these hosts */
  static async start(
    settings: NodeJS.ProcessEnv | ((hosts: readonly string[]) => Promise<NodeJS.ProcessEnv>) = {},
  ): Promise<Fleet> {
    const fleet = new Fleet(await ownAddress(), await ownAddress());
    const hosts = [fleet.grpc, fleet.http].map((address) => address.split(':')[0]!);
    const env = typeof settings === 'function' ? await settings(hosts) : settings;
    const own = {
      BACKPLANE_DATA_DIR: fleet.#brokerDir,
      BACKPLANE_GRPC_LISTEN: fleet.grpc,
      BACKPLANE_HTTP_LISTEN: fleet.http,
    };
    fleet.commands.push(new Command(['broker'], { ...own, ...env }));
    return fleet;
  }

  /** Starts an agent. Two with the same name, one after the other, are one agent that was started again. */
  agent(name: string, env: NodeJS.ProcessEnv): Command {
    const own = {
      BACKPLANE_DATA_DIR: join(this.#dir, `agent-${name}`),
      BACKPLANE_BROKERS: this.grpc,
      BACKPLANE_TOKEN_FILE: tokenFile(this.#brokerDir),
    };
    const command = new Command(['agent'], { ...own, ...env });
    this.commands.push(command);
    return command;
  }

  /** The broker's token, once it has one. */
  get token(): string {
    return readFileSync(tokenFile(this.#brokerDir), 'utf8').trim();
  }

  client(): Client {
    const client = new Client([this.grpc], credentialIn(this.#brokerDir));
    this.#clients.push(client);
    return client;
  }

  /** An answer of the broker's HTTP interface. */
  async get(path: string): Promise<unknown> {
    return (await fetch(`http://${this.http}${path}`, { headers: bearer(this.#brokerDir) })).json();
  }

  async destroy(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const command of this.commands.toReversed()) await command.stop('SIGTERM');
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
