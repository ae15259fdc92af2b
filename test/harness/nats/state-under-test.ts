/** States and audits on a real server, each with streams of its own, as brokers open them. */
import assert from 'node:assert/strict';
import type { StreamConfig } from '@nats-io/jetstream';
import { coordinationStreams, sharedStream } from '../../../src/broker/cluster/nats/coordination-streams.js';
import { NatsState, type NatsStateOptions } from '../../../src/broker/cluster/nats/nats-state.js';
import { type NatsLink, openLink } from '../../../src/broker/nats/nats-link.js';
import { MiB } from '../../../src/limits.js';
import type { NatsServers } from './nats-servers.js';

let clusters = 0;

/** The streams of a new cluster; returns its name. A server reserves what its streams may hold. */
export async function newCluster(
  link: NatsLink,
  changes: Partial<StreamConfig> = { max_bytes: 16 * MiB },
): Promise<string> {
  clusters++;
  const cluster = `t${process.pid}-${clusters}`;
  for (const config of coordinationStreams(cluster, 1)) await link.manager.streams.add({ ...config, ...changes });
  return cluster;
}

/** The connections of one broker. */
export function linkTo(servers: NatsServers, name = 'test'): Promise<NatsLink> {
  return openLink({ servers: servers.urls.split(',') }, name);
}

/** Takes any entries, and fails the test where it goes back in time, unless told otherwise. */
export function openNatsState(
  link: NatsLink,
  cluster: string,
  options: Partial<NatsStateOptions> = {},
): Promise<NatsState> {
  return NatsState.open({
    link,
    ...sharedStream(cluster),
    broker: 'b1',
    check: () => undefined,
    onTrouble: () => undefined,
    onRegression: assert.fail,
    onGone: assert.fail,
    ...options,
  });
}
