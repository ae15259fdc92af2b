/**
 * A broker in this process: the log, the nodes, the subscriptions, and the two
 * servers in front of them.
 */
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import type { Server } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { noteToken, runtimeDirectory, type TokenNote } from '../access/token-note.js';
import { everySecond } from '../flow/long-timer.js';
import { DRAIN_MS, LEASE_INTERVAL_MS } from '../limits.js';
import { lockDirectory } from '../storage/dir-lock.js';
import { nodeFileOps } from '../storage/file-ops.js';
import { hideDirectory } from '../text/public-text.js';
import { bindGrpc, bindHttp, parseListenAddress } from './access/listen.js';
import { ServerTls } from './access/tls/server-tls.js';
import { type BrokerToken, brokerToken } from './access/token-file.js';
import { PUBLISHING } from './app/publisher.js';
import { assemble, closeParts, type Opened, type Parts } from './assembly.js';
import { Delays } from './delays.js';
import { HeldFrames } from './ingest/held-frames.js';
import { DOCUMENT_BOUNDS, type DocumentLogs } from './log/documents/document-logs.js';
import { openEmbeddedDocuments } from './log/documents/embedded-document-logs.js';
import { EmbeddedLogStore } from './log/embedded/embedded-log-store.js';
import { type PartitionLog, partitionOf } from './log/partition-log.js';
import type { BrokerOptions, NatsLogOptions } from './options.js';

export interface Broker {
  /** host:port, as bound. */
  readonly grpcAddress: string;
  readonly httpAddress: string;
  /** File of the token that calls must carry; undefined when they need none. */
  readonly tokenFile: string | undefined;
  /** Whether the token was noted, so that this user's commands find it by themselves. */
  readonly tokenNoted: boolean;
  /** Sets why the broker is not ready; `up`, for example, waits for its own node. Undefined: it waits for nothing. */
  waitsFor(reason: string | undefined): void;
  /**
   * Reads again what can be changed while the broker runs, as happens when it changes: its certificate and the
   * authorities of others, tokens and roles. False when there is nothing of it.
   */
  reload(): boolean;
  /** Makes health and readiness report that the broker ends soon; everything else continues. */
  endsSoon(): void;
  /**
   * Sends agents and subscribers to other brokers of its cluster, some at a time, where there are any, ends the streams that are
   * left after a last cursor, flushes the log and closes everything. Idempotent.
   */
  drain(): Promise<void>;
  /** Ends at once, as a kill would, but releases ports and files. For tests. */
  abort(): Promise<void>;
}

/** Told to agents, which then send what the log does not have (any more). */
const LOST_END = 'the log has lost what it had acknowledged: send it again';

/** Throws a one-line BackplaneError, for example for an address in use or a directory that is locked or read-only. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const anywhere = options.insecure || options.tls !== undefined;
  const grpcListen = parseListenAddress('grpc.listen', options.grpcListen, anywhere);
  const httpListen = parseListenAddress('http.listen', options.httpListen, anywhere);
  const dir = join(options.dataDir, 'broker');
  const lock = lockDirectory(dir);
  /** Called last to first. */
  const releases: (() => void | Promise<void>)[] = [() => lock.release()];
  releases.push(hideDirectory(resolve(options.dataDir), 'DATA_DIR'));
  const release = async () => {
    for (const each of releases.splice(0).reverse()) {
      // What a log could not keep was told when it was written: it must not keep the others open.
      await (async () => each())().catch((cause) => options.logger.warn(`not closed in order: ${cause}`));
    }
  };
  try {
    const tls = options.tls && new ServerTls(options.tls, options.logger);
    releases.push(() => tls?.close());
    const held = heldFrames(options.logger);
    const delays = new Delays();
    // Sessions are ended by parts that are made later, of a log that loses something only later.
    let registry: Parts['registry'] | undefined;
    const onRewound = ({ partition }: PartitionLog) =>
      registry?.closeSessions(LOST_END, (node) => partitionOf(node) === partition);
    const { store, documents, kept, member, cluster } = await (options.nats === undefined
      ? openStore(dir, options, held, delays, releases)
      : openOnNats(options.nats, options, onRewound, releases));
    releases.push(() => store.close());
    const token = options.token ? brokerToken(options.dataDir, (message) => options.logger.warn(message)) : undefined;
    const parts = assemble({ dir, store, kept, member, cluster, documents, held, delays, token, tls }, options);
    registry = parts.registry;
    releases.push(() => closeParts(parts));
    await member?.fits(options.version);
    const { gate } = parts.access;
    const bound = await bindGrpc(parts.grpc, grpcListen, gate, options.version, tls);
    const { address: grpcAddress, endConnections } = bound;
    const httpAddress = await bindHttp(parts.http.listener.server, httpListen);
    parts.facts.grpcListen = grpcAddress;
    parts.facts.httpListen = httpAddress;
    parts.state.ready = true;
    parts.showHealth();
    const { budgets, listings } = parts;
    member?.begin({
      ...{ address: grpcAddress, version: options.version },
      ...{ demand: () => budgets.demand, onLess: () => budgets.lease() },
      list: (names) => listings.nodesHere(names),
    });
    const note = token && noted(token, grpcAddress, options.logger);
    const facts = { grpcAddress, httpAddress, tokenFile: token?.file, tokenNoted: note !== undefined };
    return running(parts, note, endConnections, release, facts, options.connected);
  } catch (cause) {
    await release();
    throw cause;
  }
}

/** What a broker has of its log, and shares with others. */
type Stores = Pick<Opened, 'store' | 'documents' | 'kept' | 'member' | 'cluster'>;

async function openStore(
  dir: string,
  options: BrokerOptions,
  held: HeldFrames,
  delays: Delays,
  releases: (() => Promise<void> | void)[],
): Promise<Stores> {
  const { log, logger } = options;
  const documents = await openDocuments(dir, options);
  releases.push(() => documents.close());
  const store = await EmbeddedLogStore.open({
    ...log,
    files: delays.timed(log.files ?? nodeFileOps),
    dir: join(dir, 'log'),
    warn: (message) => logger.warn(message),
    onFailure: (failed, cause) => held.refused(failed, cause),
  });
  return { store, documents, kept: undefined, member: undefined, cluster: undefined };
}

/** The connections are closed after the log. */
async function openOnNats(
  { cluster, monitors = [], onLost, ...options }: NatsLogOptions,
  { publishing = PUBLISHING, ceilingBytesPerSecond, logger }: BrokerOptions,
  onRewound: (log: PartitionLog) => void,
  releases: (() => Promise<void> | void)[],
): Promise<Stores> {
  const { openLink } = await import('./nats/nats-link.js');
  const { JetStreamLogStore } = await import('./log/jetstream/jetstream-log-store.js');
  const { openKeptState, openSharedState } = await import('./cluster/nats/open-states.js');
  const { openJetStreamDocuments } = await import('./cluster/nats/open-documents.js');
  const { ClusterMember } = await import('./nodes/nats/cluster-member.js');
  const { fitClusterAtStart } = await import('./nats/cluster-streams.js');
  const { DurabilityWatch } = await import('./nats/monitoring/durability.js');
  const { StreamWatch } = await import('./nats/stream-watch.js');
  const link = await openLink(options, 'log', onLost);
  releases.push(() => link.close());
  const { manager } = link;
  const watch = new StreamWatch({ manager, cluster, identity: await fitClusterAtStart(manager, cluster), onLost });
  releases.push(() => watch.close());
  const broker = randomBytes(6).toString('hex');
  const kept = await openKeptState({ link, cluster, broker, logger, onLost });
  releases.push(() => kept.close());
  const state = await openSharedState({ link, cluster, broker, logger, onLost });
  releases.push(() => state.close());
  const documents = await openJetStreamDocuments({ cluster, link, ids: publishing, logger, onLost });
  releases.push(() => documents.close());
  const warn = (message: string) => logger.warn(message);
  const member = new ClusterMember({ link, cluster, broker, state, kept, ceilingBytesPerSecond, warn });
  const durability = new DurabilityWatch({ monitors, ca: options.ca });
  releases.push(() => durability.close());
  const store = await JetStreamLogStore.open({ cluster, broker, link, onLost, onRewound });
  return { store, documents, kept, member, cluster: { name: cluster, durability } };
}

function openDocuments(
  dir: string,
  { log, documents: bounds = DOCUMENT_BOUNDS, publishing = PUBLISHING, logger }: BrokerOptions,
): Promise<DocumentLogs> {
  return openEmbeddedDocuments({
    dir: join(dir, 'documents'),
    bounds,
    ids: publishing,
    files: log.files,
    onFailure: (name, cause) => logger.error({ cause: String(cause) }, `the log of ${name} takes nothing more`),
  });
}

function heldFrames(logger: Logger): HeldFrames {
  return new HeldFrames((trouble) => {
    if (trouble.kind === 'over') logger.info('the log takes frames again: agents are acknowledged');
    else logger.error({ cause: trouble.reason }, 'the log takes no frames: agents wait, unacknowledged, until it does');
  });
}

/** Notes the token file for this user's commands; undefined when there is no runtime directory or the write fails. */
function noted(token: BrokerToken, grpcAddress: string, logger: Logger): TokenNote | undefined {
  const runtimeDir = runtimeDirectory(process.env);
  if (runtimeDir === undefined) return undefined;
  try {
    return noteToken(runtimeDir, grpcAddress, token.file);
  } catch (cause) {
    logger.warn(`commands must be told where the token is (${token.file}), it cannot be noted for them: ${cause}`);
    return undefined;
  }
}

/** Restores the note if it was removed, for example by a cleanup: without it commands do not find the token. */
function keepNote(note: TokenNote | undefined): void {
  try {
    note?.keep();
  } catch {
    // The note cannot be written now; the next call tries again.
  }
}

function running(
  parts: Parts,
  note: TokenNote | undefined,
  endConnections: () => void,
  release: () => Promise<void>,
  facts: Pick<Broker, 'grpcAddress' | 'httpAddress' | 'tokenFile' | 'tokenNoted'>,
  connected: BrokerOptions['connected'],
): Broker {
  const { book, registry, leastLinger, budgets, subscriptions, groups, watch, uplink, grpc, http, showHealth, state } =
    parts;
  const endLooks = everySecond(() => {
    book.expire(Date.now());
    registry.expire(Date.now());
    leastLinger.look();
    connected?.(registry.connectedCount + subscriptions.size);
    keepNote(note);
    watch.look();
    parts.cutOff.look();
    parts.balance.look();
    parts.access.look();
  });
  const leases = setInterval(() => budgets.lease(), LEASE_INTERVAL_MS).unref();
  const close = async (): Promise<void> => {
    endLooks();
    clearInterval(leases);
    note?.forget();
    endConnections();
    await release();
  };
  const endsSoon = (): void => {
    state.ready = false;
    showHealth();
  };
  let drained: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    endsSoon();
    await parts.retirement.finished();
    const deadline = new Promise<void>((resolve) => setTimeout(resolve, DRAIN_MS).unref());
    groups.drain();
    await Promise.race([subscriptions.drain(), deadline]);
    await Promise.race([parts.member?.presence.leave(), deadline]);
    uplink.drain();
    parts.publishing.drain();
    await registry.save();
    await Promise.race([Promise.all([shutDown(grpc), http.listener.end()]), deadline]);
    await parts.member?.leave();
    await close();
  };
  return {
    ...facts,
    waitsFor: (reason) => {
      state.waitsFor = reason;
      showHealth();
    },
    reload: () => {
      parts.tls?.reload();
      return parts.access.reload() || parts.tls !== undefined;
    },
    endsSoon,
    drain: () => (drained ??= drain()),
    abort: () => (drained ??= close()),
  };
}

/** Resolves when all running calls have ended, so that what was written reaches the peers. */
function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => server.tryShutdown(() => resolve()));
}
