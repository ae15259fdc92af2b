/** All streams of a cluster of brokers: made once, compared, and bounded anew. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import { BackplaneError } from '../../errors.js';
import { NATS_REQUEST_MS, READER_LOOKS } from '../../limits.js';
import { bytesText } from '../../text/size-text.js';
import { durationMsText } from '../../text/time-text.js';
import { coordinationStreams } from '../cluster/nats/coordination-streams.js';
import { documentForms } from '../log/documents/document-streams.js';
import { type LogBounds, partitionForms } from '../log/jetstream/streams.js';
import { patiently } from './patiently.js';
import {
  boundStream,
  differences,
  goneText,
  identityOf,
  makeStream,
  NATS_NS_PER_MS,
  type StreamForm,
} from './stream-form.js';
import { anyStreamInfo, streamInfo } from './stream-leader.js';

function forms(cluster: string, bounds: LogBounds): StreamForm[] {
  return [...partitionForms(cluster, bounds), ...otherForms(cluster, bounds.replicas)];
}

/** Of streams whose sizes are their own. */
function otherForms(cluster: string, replicas: number): StreamForm[] {
  return [...coordinationStreams(cluster, replicas), ...documentForms(cluster, replicas)];
}

/**
 * Makes them, also where an earlier try was broken off: what is there then has never had a message. Throws already_exists
 * where nothing is missing, and failed_precondition where something is of a cluster that was in use: what is lost is not
 * made again. Where one cannot be made, those that were made by this call are deleted again.
 */
export async function makeCluster(manager: JetStreamManager, cluster: string, bounds: LogBounds): Promise<void> {
  const wanted = forms(cluster, bounds);
  const there = await patiently(() => Promise.all(wanted.map(({ name }) => streamInfo(manager, name))));
  const identity = identityToMake(cluster, wanted, there);
  const made: string[] = [];
  for (const [at, form] of wanted.entries()) {
    try {
      if (there[at] !== undefined) await patiently(() => boundStream(manager, form));
      else {
        await patiently(() => makeStream(manager, form, identity));
        made.push(form.name);
      }
    } catch (cause) {
      for (const name of made) await manager.streams.delete(name).catch(() => false);
      throw new BackplaneError('unavailable', `stream ${form.name} cannot be made: ${(cause as Error).message}`);
    }
  }
}

/** A new one, or that of the streams which a try before has made. */
function identityToMake(
  cluster: string,
  wanted: readonly StreamForm[],
  there: readonly (StreamInfo | undefined)[],
): string {
  const [first] = there.flatMap((info) => info ?? []);
  if (first === undefined) return randomBytes(8).toString('hex');
  const exists = `cluster ${cluster} exists: stream ${first.config.name} is there`;
  const missing = wanted.find((_, at) => there[at] === undefined);
  if (missing === undefined) throw new BackplaneError('already_exists', exists);
  for (const [at, info] of there.entries()) {
    if (info === undefined) continue;
    const [unfit] = [...differences(wanted[at]!, info.config), ...strangers(info, first)];
    const why = unfit ?? (info.state.last_seq > 0 ? 'it was in use' : undefined);
    if (why === undefined) continue;
    const message = `${exists}, ${missing.name} is not, and cannot be made beside it: stream ${info.config.name}: ${why}`;
    throw new BackplaneError('failed_precondition', message);
  }
  return identityOf(first.config)!;
}

/** A stream as it is, and what is wrong with it, a sentence each. */
export interface CheckedStream {
  readonly name: string;
  /** Undefined where it is gone. */
  readonly info: StreamInfo | undefined;
  /** Those of the faults that do not pass by themselves: it is gone, or not as it was made. */
  readonly unfit: readonly string[];
  readonly faults: readonly string[];
}

export async function checkCluster(manager: JetStreamManager, cluster: string): Promise<readonly CheckedStream[]> {
  // Bounds may be any, and are not compared.
  const wanted = forms(cluster, { bytesMax: 1, ageMsMax: 1, replicas: 1 });
  const infos = await Promise.all(wanted.map(({ name }) => anyStreamInfo(manager, name)));
  return wanted.map((form, at) => {
    const info = infos[at];
    const unfit =
      info === undefined
        ? ['it is gone: brokers do not start']
        : [...differences(form, info.config), ...strangers(info, infos[0])];
    return { name: form.name, info, unfit, faults: [...unfit, ...(info === undefined ? [] : troubles(info))] };
  });
}

/**
 * The identity of the cluster. Throws failed_precondition, in one sentence, where a stream is not there, not as it was made,
 * or of another cluster.
 */
export async function fitCluster(manager: JetStreamManager, cluster: string): Promise<string> {
  return fitStreams(cluster, await checkCluster(manager, cluster));
}

/** What every broker asks at its start. A server that just started may know no stream yet, so it asks several times. */
export async function fitClusterAtStart(
  manager: JetStreamManager,
  cluster: string,
  pauseMs = NATS_REQUEST_MS,
): Promise<string> {
  for (let looks = 1; ; looks++) {
    const streams = await checkCluster(manager, cluster);
    if (looks === READER_LOOKS || streams.every(({ info }) => info !== undefined)) return fitStreams(cluster, streams);
    await sleep(pauseMs);
  }
}

function fitStreams(cluster: string, streams: readonly CheckedStream[]): string {
  if (streams.every(({ info }) => info === undefined)) {
    const how = `backplane cluster init --cluster ${cluster} makes them`;
    throw new BackplaneError('failed_precondition', `cluster ${cluster} has no streams: ${how}`);
  }
  const unfit = streams.find((stream) => stream.unfit.length > 0);
  if (unfit === undefined) return identityOf(streams[0]!.info!.config)!;
  throw new BackplaneError('failed_precondition', unfitText(unfit));
}

function unfitText({ name, info, unfit }: CheckedStream): string {
  if (info !== undefined) return `stream ${name} is not as it was made: ${unfit[0]}`;
  return goneText(name);
}

/** Changes what is given of the bounds. Throws failed_precondition where a stream is not as it was made. */
export async function boundCluster(
  manager: JetStreamManager,
  cluster: string,
  given: Partial<LogBounds>,
): Promise<void> {
  const checked = await checkCluster(manager, cluster);
  // What passes by itself, such as a replica that lags, does not keep from it.
  for (const { name, unfit } of checked) {
    if (unfit.length > 0) throw new BackplaneError('failed_precondition', `stream ${name}: ${unfit[0]}`);
  }
  const { config } = checked[0]!.info!;
  const logs = partitionForms(cluster).length;
  const bounds = {
    bytesMax: given.bytesMax ?? config.max_bytes * logs,
    ageMsMax: given.ageMsMax ?? config.max_age / NATS_NS_PER_MS,
    replicas: given.replicas ?? config.num_replicas,
  };
  for (const form of partitionForms(cluster, bounds)) await bound(manager, form);
  for (const { name } of otherForms(cluster, bounds.replicas)) {
    await bound(manager, { name, num_replicas: bounds.replicas });
  }
}

async function bound(manager: JetStreamManager, form: StreamForm): Promise<void> {
  try {
    await boundStream(manager, form);
  } catch (cause) {
    throw new BackplaneError('unavailable', `stream ${form.name} cannot be changed: ${(cause as Error).message}`);
  }
}

/** What keeps a stream from being as safe as its settings say. */
function troubles({ config, cluster }: StreamInfo): string[] {
  if (config.num_replicas <= 1) return [];
  if (cluster?.leader === undefined || cluster.leader === '') return ['it has no leader: nothing is acknowledged'];
  const others = cluster.replicas ?? [];
  const behind = others.filter(({ current, offline }) => offline === true || !current);
  const faults = behind.map(({ name, offline }) => `its replica on ${name} is ${offline ? 'away' : 'not current'}`);
  // Right after a server was taken out of the cluster its leader knows neither that one nor the next.
  if (others.length + 1 < config.num_replicas) faults.push(`it has ${others.length + 1} of them`);
  return faults;
}

/** All streams of a cluster have the identity of the first one. */
function strangers({ config }: StreamInfo, first: StreamInfo | undefined): string[] {
  const [own, wanted] = [config, first?.config].map((one) => one && identityOf(one));
  if (own === undefined || wanted === undefined || own === wanted) return [];
  return [`its identity is ${own}, that of ${first!.config.name} is ${wanted}: they are not of one cluster`];
}

/** One line about a stream, for people. */
export function streamText({ name, info, faults }: CheckedStream): string {
  if (info === undefined) return `${name}: ${faults.join('; ')}`;
  const { config, state } = info;
  const age = config.max_age > 0 ? `, ${durationMsText(config.max_age / NATS_NS_PER_MS)}` : '';
  const bounds = `${bytesText(state.bytes)} of ${bytesText(config.max_bytes)}${age}`;
  const copies = config.num_replicas === 1 ? '1 replica' : `${config.num_replicas} replicas`;
  return `${name}: ${bounds}, ${copies}: ${faults.length === 0 ? 'as it must be' : faults.join('; ')}`;
}
