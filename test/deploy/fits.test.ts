/** What deploy/ gives its parts is enough for them: disks for streams, brokers for zones, and time to leave. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { coordinationStreams } from '../../src/broker/cluster/nats/coordination-streams.js';
import { documentForms } from '../../src/broker/log/documents/document-streams.js';
import { partitionForms } from '../../src/broker/log/jetstream/streams.js';
import {
  AGENT_STOP_MS,
  ALERT_LOG_BYTES_DEFAULT,
  APP_LOG_BYTES_DEFAULT,
  AUDIT_LOG_BYTES_DEFAULT,
  DRAIN_MS,
  GiB,
  LOG_BYTES_DEFAULT,
  MiB,
  RETIRE_AT_ONCE,
  RETIRE_MS_MAX,
} from '../../src/limits.js';
import { filesOf } from './keys/deployed-files.js';
import { find, type Manifest, manifestsIn } from './pods.js';

/** Of max_file_store: what is beyond it is for messages that were deleted and not yet removed. */
const STREAMS_SHARE_MAX = 0.7;
/** Of the disk: a server whose disk is full takes nothing until it is started again. */
const STORE_SHARE_MAX = 0.8;

const kubernetes = (name: string) => manifestsIn(readFileSync(join('deploy/kubernetes', name), 'utf8'));
const documentation = readFileSync('docs/cluster.md', 'utf8');

/** What all streams of a cluster may hold on each server: with as many replicas as servers each has all of it. */
function streamBytes(logBytesMax: number): number {
  const bounds = { bytesMax: logBytesMax, ageMsMax: 1, replicas: 3 };
  const forms = [...partitionForms('c', bounds), ...coordinationStreams('c', 3), ...documentForms('c', 3)];
  return forms.reduce((sum, { max_bytes: bytes }) => sum + bytes!, 0);
}

/** Of a size as `--log-bytes-max`, a volume or nats-server says it: to the last of these GB is 2^30 bytes, too. */
function bytesOf(text: string | undefined): number {
  const [, count, unit] = /^(\d+)(GiB|GB|Gi|MiB|MB|Mi)$/.exec(text ?? '') ?? assert.fail(`no size: ${text}`);
  return Number(count) * (unit!.startsWith('G') ? GiB : MiB);
}

const sizeIn = (pattern: RegExp, text: string) => bytesOf(pattern.exec(text)?.[1]);
const logBytesIn = (words: readonly string[] = []) => sizeIn(/--log-bytes-max=(\S+)/, words.join(' '));

/** Each configuration of nats-server, with what `cluster init` makes on it, and the volume that is claimed for it. */
const STORES: Readonly<Record<string, { readonly logBytes: () => number; readonly volume?: () => number }>> = {
  'deploy/docker/nats.conf': {
    logBytes: () => {
      const { services } = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true });
      return logBytesIn(services['cluster-init'].command);
    },
  },
  'deploy/kubernetes/nats/nats.conf': {
    logBytes: () => {
      const job = find(kubernetes('cluster/cluster-init.yaml'), 'Job', 'backplane-cluster-init');
      return logBytesIn(job.spec.template.spec.containers[0].args);
    },
    volume: () => claimed(find(kubernetes('nats/nats.yaml'), 'StatefulSet', 'backplane-nats')),
  },
};

function claimed({ spec }: Manifest): number {
  return bytesOf(spec.volumeClaimTemplates?.[0].spec.resources.requests.storage);
}

test('all streams are at most 70 % of each max_file_store, and that at most 80 % of the volume', () => {
  assert.deepEqual(filesOf('natsServer').toSorted(), Object.keys(STORES));
  for (const [file, { logBytes, volume }] of Object.entries(STORES)) {
    const store = sizeIn(/^ *max_file_store: (\S+)$/m, readFileSync(file, 'utf8'));
    const streams = streamBytes(logBytes());
    assert.ok(streams <= STREAMS_SHARE_MAX * store, `${file}: ${streams} of ${store}`);
    if (volume !== undefined) assert.ok(store <= STORE_SHARE_MAX * volume(), `${file}: ${store} of ${volume()}`);
  }
});

test('so they are in the commands of docs/cluster.md, and a single broker in its volume', () => {
  const store = sizeIn(/max_file_store: (\w+)/, documentation);
  const logs = [...documentation.matchAll(/--log-bytes-max (\S+)/g)].map(([, size]) => bytesOf(size));
  assert.ok(logs.length > 0);
  for (const log of [...logs, LOG_BYTES_DEFAULT]) assert.ok(streamBytes(log) <= STREAMS_SHARE_MAX * store, `${log}`);
  assert.ok(
    documentation.includes(`(${streamBytes(LOG_BYTES_DEFAULT) / GiB} GiB unless the log is bounded otherwise)`),
  );
  const volume = claimed(find(kubernetes('single/broker.yaml'), 'StatefulSet', 'backplane-broker'));
  const logsOfOne = LOG_BYTES_DEFAULT + APP_LOG_BYTES_DEFAULT + ALERT_LOG_BYTES_DEFAULT + AUDIT_LOG_BYTES_DEFAULT;
  assert.ok(logsOfOne <= STORE_SHARE_MAX * volume);
});

test('connections stay in their zone, and brokers and servers of NATS are spread over zones', () => {
  const [service] = kubernetes('cluster/service.yaml');
  assert.equal(service!.spec.trafficDistribution, 'PreferClose');
  const parts = [
    find(kubernetes('cluster/broker.yaml'), 'Deployment', 'backplane-broker'),
    find(kubernetes('nats/nats.yaml'), 'StatefulSet', 'backplane-nats'),
  ];
  for (const { kind, spec } of parts) {
    const { metadata, spec: pod } = spec.template;
    const spread = new Map(pod.topologySpreadConstraints!.map((each) => [each.topologyKey, each]));
    assert.deepEqual([...spread.keys()], ['kubernetes.io/hostname', 'topology.kubernetes.io/zone']);
    for (const { labelSelector } of spread.values()) assert.deepEqual(labelSelector.matchLabels, metadata.labels);
    // Two servers of NATS on one node would go together.
    const apart = spread.get('kubernetes.io/hostname')!.whenUnsatisfiable;
    assert.equal(apart, kind === 'StatefulSet' ? 'DoNotSchedule' : 'ScheduleAnyway');
  }
});

/** Seconds, or a time of systemd or docker-compose in seconds, in milliseconds. */
const graceMs = (value: unknown) => Number(/^(\d+)s?$/.exec(String(value))?.[1]) * 1_000;
const unit = (name: string) => readFileSync(join('deploy/systemd', name), 'utf8');
const stopOf = (name: string) => /^TimeoutStopSec=(\S+)$/m.exec(unit(name))?.[1];
const workload = (file: string, kind: string, name: string) =>
  find(kubernetes(file), kind, name).spec.template.spec.terminationGracePeriodSeconds;

test('a broker of a cluster has the time to send everybody away before it is killed, and others to drain', () => {
  const { services } = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true });
  const retiring = [
    workload('cluster/broker.yaml', 'Deployment', 'backplane-broker'),
    stopOf('backplane-broker.service.d/cluster.conf'),
    ...['broker-1', 'broker-2'].map((name) => services[name].stop_grace_period),
  ];
  const draining = [
    workload('single/broker.yaml', 'StatefulSet', 'backplane-broker'),
    workload('base/agent.yaml', 'DaemonSet', 'backplane-agent'),
    ...['backplane-broker.service', 'backplane-agent.service'].map(stopOf),
    services.agent.stop_grace_period,
  ];
  for (const grace of retiring) assert.ok(graceMs(grace) > RETIRE_MS_MAX + DRAIN_MS, `${grace}`);
  for (const grace of draining) assert.ok(graceMs(grace) > AGENT_STOP_MS + DRAIN_MS, `${grace}`);
});

test('what is said beside these times is what the code does', () => {
  const said = ['deploy/kubernetes/cluster/broker.yaml', 'deploy/systemd/backplane-broker.service.d/cluster.conf'];
  assert.equal(RETIRE_AT_ONCE, 4);
  for (const file of [...said, 'docker-compose.yml']) {
    const text = readFileSync(file, 'utf8');
    assert.ok(text.includes(`four on their way at a time: within ${RETIRE_MS_MAX / 1_000} s. Then it drains.`), file);
  }
});
