/** What tests of brokers on a real server begin with: connections, streams, and states as brokers open them. */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import type { StreamConfig } from '@nats-io/jetstream';
import { coordinationStreams, sharedStream } from '../../../src/broker/cluster/nats/coordination-streams.js';
import { NatsState, type NatsStateOptions } from '../../../src/broker/cluster/nats/nats-state.js';
import { documentForms } from '../../../src/broker/log/documents/document-streams.js';
import { partitionForms } from '../../../src/broker/log/jetstream/streams.js';
import { type NatsLink, openLink } from '../../../src/broker/nats/nats-link.js';
import { makeStream } from '../../../src/broker/nats/stream-form.js';
import { MiB } from '../../../src/limits.js';
import { needsNats } from './nats-package.js';
import { NatsServers } from './nats-servers.js';

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

/** All streams of the cluster `test`, as whole brokers need them. */
export async function makeTestCluster(servers: NatsServers): Promise<void> {
  const link = await linkTo(servers);
  const bounds = { bytesMax: 512 * MiB, ageMsMax: 3_600_000, replicas: 1 };
  const others = [...coordinationStreams('test', 1), ...documentForms('test', 1)];
  const states = others.map((form) => ({ ...form, max_bytes: 16 * MiB }));
  for (const form of [...partitionForms('test', bounds), ...states]) {
    await makeStream(link.manager, form, '0123456789abcdef');
  }
  await link.close();
}

export interface TwoOnNats {
  readonly servers: NatsServers;
  /** Of two brokers. */
  readonly links: readonly [NatsLink, NatsLink];
}

/** One server for all tests of a file, where there is any: what this returns is filled in before the first of them. */
export function twoOnNats(): TwoOnNats {
  const started = {} as { -readonly [Key in keyof TwoOnNats]: TwoOnNats[Key] };
  if (needsNats() !== false) return started;
  before(async () => {
    started.servers = await NatsServers.start();
    started.links = [await linkTo(started.servers), await linkTo(started.servers)];
  });
  after(async () => {
    await Promise.all(started.links.map((link) => link.close()));
    await started.servers.destroy();
  });
  return started;
}

/** The connections of one broker. */
export function linkTo(servers: Pick<NatsServers, 'urls'>, name = 'test'): Promise<NatsLink> {
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
    onDefect: (cause) => assert.fail(String(cause)),
    onGone: assert.fail,
    ...options,
  });
}
