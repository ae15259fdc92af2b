/** `backplane cluster check`: what is wrong with the servers and the streams of a cluster. Exit code 1 where anything is. */
import type { Command } from 'commander';
import type { NatsConnection } from 'nats';
import type { NatsOptions } from '../../broker/nats/connect.js';
import { BackplaneError } from '../../errors.js';
import { clusterOf, monitoringOf, NATS_KEYS, natsOptions } from '../connection/nats.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';

export function defineCheck(command: Command): void {
  addSettingFlags(command, [...NATS_KEYS, 'nats.monitor']);
  command.action(async () => {
    const { settings } = await commandConfig(command, [...NATS_KEYS, 'nats.monitor']);
    const { jetstreamManager } = await import('../../broker/nats/nats-library.js');
    const { checkCluster, streamText } = await import('../../broker/nats/cluster-streams.js');
    const { durabilityText } = await import('../../broker/nats/monitoring/durability.js');
    const { askMonitors } = await import('../../broker/nats/monitoring/server-monitor.js');
    const { storeUses } = await import('./store-use.js');
    const cluster = clusterOf(settings);
    const servers = await eachServer(natsOptions(settings));
    const connections = servers.filter((server) => typeof server !== 'string');
    try {
      const monitoring = monitoringOf(settings);
      const answers = await askMonitors(monitoring);
      const stores = storeUses(monitoring.monitors, answers);
      const streams = await checkCluster(await jetstreamManager(connections[0]!, { checkAPI: false }), cluster);
      const lines = [...servers.map(serverText), `durability: ${durabilityText(monitoring.monitors, answers)}`]
        .concat(stores.map(({ text }) => text))
        .concat(streams.map(streamText));
      process.stdout.write(`${lines.join('\n')}\n`);
      const isSound =
        connections.length === servers.length &&
        stores.every(({ isTooMuch }) => !isTooMuch) &&
        streams.every(({ faults }) => faults.length === 0);
      if (!isSound) process.exitCode = 1;
    } finally {
      await Promise.all(connections.map((connection) => connection.close()));
    }
  });
}

/**
 * A connection to each server that is named, or in one sentence why brokers cannot use it. Throws what is wrong where none can
 * be used.
 */
async function eachServer(options: NatsOptions): Promise<readonly (NatsConnection | string)[]> {
  const { connectNats } = await import('../../broker/nats/connect.js');
  const tries = await Promise.allSettled(
    options.servers.map((server) => connectNats({ ...options, servers: [server], isNamedOnly: true }, 'cluster check')),
  );
  const causes = tries.flatMap((tried) => (tried.status === 'rejected' ? [tried.reason as BackplaneError] : []));
  if (causes.length === tries.length) {
    const sentences = new Set(causes.map(({ message }) => message));
    throw new BackplaneError(causes[0]!.code, [...sentences].join('; '));
  }
  return tries.map((tried) => (tried.status === 'fulfilled' ? tried.value : tried.reason.message));
}

function serverText(server: NatsConnection | string): string {
  return typeof server === 'string' ? server : `nats-server at ${server.getServer()}: ${server.info?.version}`;
}
