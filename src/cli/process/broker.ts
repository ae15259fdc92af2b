/** `backplane broker`: runs a broker until a signal; the first signal drains it. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { SettingKey } from '../../config/settings.js';
import type { Config } from '../../config.js';
import type { BackplaneError } from '../../errors.js';
import { NATS_KEYS } from '../connection/nats.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { BROKER_KEYS, brokerOptions, httpScheme, natsLogOptions, warnings } from './broker-options.js';
import { fitYoungGeneration } from './heap.js';
import { watchInterrupt } from './interrupt.js';
import { openLog } from './log.js';
import { tellReady } from './readiness.js';

/** Of a broker whose log is lost: what it still sends may take so long. */
const END_MS = 2_000;

const KEYS: readonly SettingKey[] = [...BROKER_KEYS, ...NATS_KEYS, 'nats.monitor'];

export function define(command: Command): void {
  addSettingFlags(command, KEYS);
  command.action(async () => runBroker(await commandConfig(command, KEYS)));
}

async function runBroker({ settings }: Config): Promise<void> {
  const log = openLog(settings, 'broker');
  let reload = () => false;
  const interrupt = watchInterrupt(undefined, () => reload());
  const lost = new Lost();
  const nats = natsLogOptions(settings, (reason) => lost.tell(reason));
  // Loaded here, because what `up` shares with this file has to start its agent before that.
  const { startBroker } = await import('../../broker/broker.js');
  const broker = await startBroker({ ...brokerOptions(settings, log), nats, connected: fitYoungGeneration });
  reload = broker.reload;
  for (const warning of warnings(settings, broker)) process.stdout.write(`${warning}\n`);
  if (nats !== undefined) process.stdout.write(`of cluster ${nats.cluster}, on ${nats.servers.join(', ')}\n`);
  const http = `${httpScheme(settings)}://${broker.httpAddress}`;
  process.stdout.write(`listening on ${broker.grpcAddress} (gRPC) and ${http}\n`);
  tellReady();
  const ended = interrupt.signal.aborted ? Promise.resolve() : once(interrupt.signal, 'abort');
  await Promise.race([ended, lost.told]);
  if (lost.reason === undefined) {
    log.info('draining');
    await Promise.race([broker.drain(), lost.told]);
  }
  if (lost.reason !== undefined) {
    // Agents and subscribers go on elsewhere, or try again until there is a broker.
    await Promise.race([broker.abort(), sleep(END_MS)]);
    throw lost.reason;
  }
  interrupt.release();
}

/** What the broker cannot go on without, once it is gone. */
class Lost {
  reason: BackplaneError | undefined;
  #resolve = () => {};
  readonly told = new Promise<void>((resolve) => {
    this.#resolve = resolve;
  });

  tell(reason: BackplaneError): void {
    this.reason ??= reason;
    this.#resolve();
  }
}
