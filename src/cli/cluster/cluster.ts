/** `backplane cluster init|check|set`: the streams of a cluster of brokers on NATS JetStream, made and bounded. */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { Command } from 'commander';
import type { SettingKey, Settings } from '../../config/settings.js';
import { BackplaneError, invalid } from '../../errors.js';
import { clusterOf, monitoringOf, NATS_KEYS, natsOptions } from '../connection/nats.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { defineCheck } from './check.js';

/** Of `init` and `set`. */
const KEYS: readonly SettingKey[] = [...NATS_KEYS, 'nats.monitor', 'log.bytesMax', 'log.ageMax'];
const REPLICAS = [1, 3, 5];

export function define(command: Command): void {
  defineInit(command.command('init').description('make the streams of a cluster'));
  defineCheck(command.command('check').description('compare the streams of a cluster with what they must be'));
  defineSet(command.command('set').description('change the size, the age or the replicas of a cluster'));
}

function defineInit(command: Command): void {
  addSettingFlags(command, KEYS);
  command.option('--replicas <count>', 'servers that keep each stream: 1, 3 or 5 (default 3, on one server 1)');
  command.option('--if-missing', 'succeed where they are there already, and change nothing');
  command.action(async () => {
    const { settings } = await commandConfig(command, KEYS);
    const { makeCluster } = await import('../../broker/nats/cluster-streams.js');
    const cluster = clusterOf(settings);
    const given = replicasOf(command);
    await withManager(settings, async (manager, servers) => {
      const replicas = given ?? (servers === 1 ? 1 : 3);
      const bounds = { bytesMax: settings['log.bytesMax'], ageMsMax: settings['log.ageMax'], replicas };
      const made = await makeCluster(manager, cluster, bounds).then(
        () => true,
        (cause: unknown) => {
          const isThere = cause instanceof BackplaneError && cause.code === 'already_exists';
          if (isThere && command.opts<{ ifMissing?: boolean }>().ifMissing === true) return false;
          throw cause;
        },
      );
      process.stdout.write(`cluster ${cluster} ${made ? 'is made' : 'is there'}\n`);
      await warnOfStores(settings);
    });
  });
}

function defineSet(command: Command): void {
  addSettingFlags(command, KEYS);
  command.option('--replicas <count>', 'servers that keep each stream: 1, 3 or 5');
  command.action(async () => {
    const { settings } = await commandConfig(command, KEYS);
    const { boundCluster } = await import('../../broker/nats/cluster-streams.js');
    // Only what the command line says is changed: defaults and files are about new clusters.
    const given = (flag: string) => command.getOptionValueSourceWithGlobals(flag) === 'cli';
    const bounds = {
      ...(given('logBytesMax') ? { bytesMax: settings['log.bytesMax'] } : {}),
      ...(given('logAgeMax') ? { ageMsMax: settings['log.ageMax'] } : {}),
      ...(given('replicas') ? { replicas: replicasOf(command)! } : {}),
    };
    if (Object.keys(bounds).length === 0) {
      throw invalid('cluster set', 'needs what is to change: --log-bytes-max, --log-age-max or --replicas');
    }
    await withManager(settings, (manager) => boundCluster(manager, clusterOf(settings), bounds));
    process.stdout.write(`cluster ${clusterOf(settings)} is changed\n`);
    await warnOfStores(settings);
  });
}

/** Of servers that have promised too much of their stores: nothing is refused for it. */
async function warnOfStores(settings: Settings): Promise<void> {
  const { askMonitors } = await import('../../broker/nats/monitoring/server-monitor.js');
  const { storeUses } = await import('./store-use.js');
  const monitoring = monitoringOf(settings);
  for (const { text, isTooMuch } of storeUses(monitoring.monitors, await askMonitors(monitoring))) {
    if (isTooMuch) process.stderr.write(`backplane: ${text}\n`);
  }
}

/** @param run gets how many servers there are */
async function withManager(
  settings: Settings,
  run: (manager: JetStreamManager, servers: number) => Promise<void>,
): Promise<void> {
  const { connectNats } = await import('../../broker/nats/connect.js');
  const { jetstreamManager } = await import('../../broker/nats/nats-library.js');
  const connection = await connectNats(natsOptions(settings), 'cluster');
  try {
    const servers = Math.max(settings['nats.servers'].length, connection.info?.connect_urls?.length ?? 1);
    await run(await jetstreamManager(connection, { checkAPI: false }), servers);
  } finally {
    await connection.close();
  }
}

function replicasOf(command: Command): number | undefined {
  const { replicas } = command.opts<{ replicas?: string }>();
  if (replicas === undefined) return undefined;
  if (!REPLICAS.includes(Number(replicas))) throw invalid('--replicas', `must be 1, 3 or 5, got ${replicas}`);
  return Number(replicas);
}
