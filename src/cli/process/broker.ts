/** `backplane broker`: runs a broker until a signal; the first signal drains it. */
import { once } from 'node:events';
import type { Command } from 'commander';
import type { Config } from '../../config.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { BROKER_KEYS, brokerOptions, httpScheme, warnings } from './broker-options.js';
import { watchInterrupt } from './interrupt.js';
import { openLog } from './log.js';
import { tellReady } from './readiness.js';

export function define(command: Command): void {
  addSettingFlags(command, BROKER_KEYS);
  command.action(async () => runBroker(await commandConfig(command, BROKER_KEYS)));
}

async function runBroker({ settings }: Config): Promise<void> {
  const log = openLog(settings, 'broker');
  let reload = () => false;
  const interrupt = watchInterrupt(undefined, () => reload());
  // Loaded here, because what `up` shares with this file has to start its agent before that.
  const { startBroker } = await import('../../broker/broker.js');
  const broker = await startBroker(brokerOptions(settings, log));
  reload = broker.reload;
  for (const warning of warnings(settings, broker)) process.stdout.write(`${warning}\n`);
  const http = `${httpScheme(settings)}://${broker.httpAddress}`;
  process.stdout.write(`listening on ${broker.grpcAddress} (gRPC) and ${http}\n`);
  tellReady();
  if (!interrupt.signal.aborted) await once(interrupt.signal, 'abort');
  log.info('draining');
  await broker.drain();
  interrupt.release();
}
