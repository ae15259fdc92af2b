/**
 * A broker in this process: the log, the nodes, the subscriptions, and the two
 * servers in front of them.
 */
import { join, resolve } from 'node:path';
import { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import { noteToken, runtimeDirectory, type TokenNote } from '../access/token-note.js';
import type { BackplaneError } from '../errors.js';
import { BytePool } from '../flow/byte-pool.js';
import {
  DATA_WATCH_INTERVAL_MS,
  DRAIN_MS,
  GROUP_COMMIT_TIMEOUT_MS_DEFAULT,
  GROUP_CURSORS_MS_DEFAULT,
  GROUP_INTEREST_MS_DEFAULT,
  GROUP_MEMBER_TIMEOUT_MS_DEFAULT,
  GROUP_REVOKE_TIMEOUT_MS_DEFAULT,
  HISTORY_POOL_BYTES_MAX,
  LEASE_INTERVAL_MS,
} from '../limits.js';
import { lockDirectory } from '../storage/dir-lock.js';
import { type FileOps, nodeFileOps } from '../storage/file-ops.js';
import { compileNodeGlobs } from '../subscriptions/request/node-globs.js';
import { addReflection } from '../wire/grpc/reflection.js';
import { rawService } from '../wire/grpc/rpc.js';
import { serverOptions, setStreamWindow } from '../wire/grpc/server-options.js';
import { Gate } from './access/gate.js';
import { bindGrpc, bindHttp, parseListenAddress } from './access/listen.js';
import { type BrokerToken, brokerToken } from './access/token-file.js';
import { brokerMetrics } from './api/broker-metrics.js';
import { GrpcApi } from './api/grpc.js';
import { groupHandlers } from './api/grpc-groups.js';
import { HttpApi } from './api/http.js';
import { type BrokerFacts, Listings } from './api/listings.js';
import { PUBLISHING, Publisher, type PublisherOptions } from './app/publisher.js';
import { PublisherService } from './app/publisher-service.js';
import { AuditTrail } from './cluster/audit-trail.js';
import { AuditDocuments, RefusalDocuments } from './cluster/embedded/audit-documents.js';
import { StateFile } from './cluster/embedded/state-file.js';
import type { SharedState } from './cluster/shared-state.js';
import { DataWatch } from './data-watch.js';
import { Delays } from './delays.js';
import { LedgerTotals } from './delivery/ledger-totals.js';
import type { DeliveryContext } from './delivery/planned-subscription.js';
import { Subscriptions } from './delivery/subscriptions.js';
import type { GroupTimes } from './groups/group.js';
import { checkGroupState } from './groups/group-record.js';
import { GroupService } from './groups/group-service.js';
import { GroupStore } from './groups/group-store.js';
import { type GroupRetention, Groups } from './groups/groups.js';
import { HeldFrames } from './ingest/held-frames.js';
import { Ingest } from './ingest/ingest.js';
import { UplinkService } from './ingest/uplink-service.js';
import { DOCUMENT_BOUNDS, DocumentLogs, type DocumentLogsOptions } from './log/documents/document-logs.js';
import type { FsyncMode } from './log/embedded/embedded-log.js';
import { FanOut } from './log/fan-out.js';
import { LogStore } from './log/log-store.js';
import { BudgetService } from './nodes/budget-service.js';
import { SessionRoute } from './nodes/embedded/session-route.js';
import { ForgetService } from './nodes/forget-service.js';
import { InterestBook } from './nodes/interest-book.js';
import { Lingers } from './nodes/lingers.js';
import { NodeBudgets } from './nodes/node-budgets.js';
import { NodeRegistry } from './nodes/node-registry.js';
import {
  budgetEntriesOfVersion1,
  checkNodeState,
  interestEntriesOfVersion1,
  savedInterest,
} from './nodes/node-state.js';

export interface BrokerOptions {
  /** The broker writes to `broker/` below this directory, and its token file into it. */
  readonly dataDir: string;
  /** host:port; port 0 chooses a free port. */
  readonly grpcListen: string;
  readonly httpListen: string;
  /** Origins of pages of other sites that HTTP serves; none by default. */
  readonly httpOrigins?: readonly string[];
  /** Allows listening on addresses beyond loopback, without encryption. */
  readonly insecure: boolean;
  /** Calls must carry the token in DATA_DIR/token, which is made if it is missing. */
  readonly token: boolean;
  readonly log: {
    readonly bytesMax: number;
    readonly ageMsMax: number;
    readonly fsync: FsyncMode;
    /** File operations of the log; the real file system by default. */
    readonly files?: FileOps;
  };
  /** Size and age of the logs of documents, and what may be published; by default as the settings have it. */
  readonly documents?: DocumentLogsOptions['bounds'];
  readonly publishing?: PublisherOptions;
  /** How groups treat their members, and how long they outlive them; the defaults otherwise. */
  readonly groups?: (GroupTimes & GroupRetention) | undefined;
  /** Bytes per second that all nodes together may send live; undefined if there is no ceiling. */
  readonly ceilingBytesPerSecond?: number | undefined;
  readonly version: string;
  /** Reason why the broker is not ready at first, until Broker.waitsFor() changes it. */
  readonly waitsFor?: string;
  readonly logger: Logger;
}

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
  /** Makes health and readiness report that the broker ends soon; everything else continues. */
  retire(): void;
  /** Retires, ends streams after a last cursor, flushes the log and closes everything. Idempotent. */
  drain(): Promise<void>;
  /** Ends at once, as a kill would, but releases ports and files. For tests. */
  abort(): Promise<void>;
}

const INTEREST_SWEEP_MS = 1_000;
const GROUP_DEFAULTS = {
  memberMs: GROUP_MEMBER_TIMEOUT_MS_DEFAULT,
  commitMs: GROUP_COMMIT_TIMEOUT_MS_DEFAULT,
  revokeMs: GROUP_REVOKE_TIMEOUT_MS_DEFAULT,
  interestMs: GROUP_INTEREST_MS_DEFAULT,
  cursorsMs: GROUP_CURSORS_MS_DEFAULT,
};

/** Throws a one-line BackplaneError, for example for an address in use or a directory that is locked or read-only. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const grpcListen = parseListenAddress('grpc.listen', options.grpcListen, options.insecure);
  const httpListen = parseListenAddress('http.listen', options.httpListen, options.insecure);
  const dir = join(options.dataDir, 'broker');
  const lock = lockDirectory(dir);
  let store: LogStore | undefined;
  let documents: DocumentLogs | undefined;
  try {
    const held = heldFrames(options.logger);
    const delays = new Delays();
    store = await openStore(dir, options, held, delays);
    documents = await openDocuments(dir, options);
    const token = options.token ? brokerToken(options.dataDir, (message) => options.logger.warn(message)) : undefined;
    const parts = assemble(dir, store, documents, held, token, delays, options);
    const { address: grpcAddress, endConnections } = await bindGrpc(parts.grpc, grpcListen, parts.gate);
    const httpAddress = await bindHttp(parts.http.server, httpListen).catch((cause) => {
      parts.grpc.forceShutdown();
      throw cause;
    });
    parts.facts.grpcListen = grpcAddress;
    parts.facts.httpListen = httpAddress;
    parts.state.ready = true;
    parts.showHealth();
    const note = token && noted(token, grpcAddress, options.logger);
    const facts = { grpcAddress, httpAddress, tokenFile: token?.file, tokenNoted: note !== undefined };
    return running({ ...parts, documents, endConnections, note }, store, lock, facts);
  } catch (cause) {
    await store?.close();
    await documents?.close();
    lock.release();
    throw cause;
  }
}

function openStore(dir: string, { log, logger }: BrokerOptions, held: HeldFrames, delays: Delays): Promise<LogStore> {
  return LogStore.open({
    ...log,
    files: delays.timed(log.files ?? nodeFileOps),
    dir: join(dir, 'log'),
    warn: (message) => logger.warn(message),
    onFailure: (failed, cause) => held.refused(failed, cause),
  });
}

function openDocuments(
  dir: string,
  { log, documents: bounds = DOCUMENT_BOUNDS, logger }: BrokerOptions,
): Promise<DocumentLogs> {
  return DocumentLogs.open({
    dir: join(dir, 'documents'),
    bounds,
    files: log.files,
    onFailure: ({ name }, cause) => logger.error({ cause: String(cause) }, `the log of ${name} takes nothing more`),
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

type Parts = ReturnType<typeof assemble> & {
  readonly documents: DocumentLogs;
  readonly endConnections: () => void;
  readonly note: TokenNote | undefined;
};

function assemble(
  dir: string,
  store: LogStore,
  documents: DocumentLogs,
  held: HeldFrames,
  token: BrokerToken | undefined,
  delays: Delays,
  options: BrokerOptions,
) {
  const { logger } = options;
  const { interest, setBudgets, groupState } = openState(dir, logger);
  const book = new InterestBook(savedInterest(interest), (globs) => compileNodeGlobs(globs).matches, Date.now());
  const registry = new NodeRegistry(book, store, interest, (message) => logger.error(message));
  const route = new SessionRoute(registry);
  const budgets = new NodeBudgets(registry, route, setBudgets, options.ceilingBytesPerSecond);
  const fanOut = new FanOut(store.all());
  const ingest = new Ingest(store, held, (record, refusal) => registry.refused(record, refusal));
  const totals = new LedgerTotals();
  const lingers = new Lingers(registry, route);
  const historyPool = new BytePool(HISTORY_POOL_BYTES_MAX);
  const shared = { store, fanOut, documents, registry, route, book, lingers, historyPool, totals, delays };
  const refusals = new RefusalDocuments(documents.of('audit'), (options.documents ?? DOCUMENT_BOUNDS).audit);
  const trail = new AuditTrail(new AuditDocuments(documents.of('audit')), refusals, logger);
  const { subscriptions, groups, groupService } = subscriptionsOf(shared, groupState, trail, options);
  const publisher = new Publisher(documents, options.publishing ?? PUBLISHING);
  const facts = factsBeforeListening(options);
  const watch = new DataWatch([options.dataDir, dir, join(dir, 'log'), join(dir, 'documents')], token?.file, logger);
  const trouble = () => watch.trouble ?? held.trouble ?? registry.saveTrouble;
  const listings = new Listings(
    ...([
      facts,
      registry,
      budgets,
      subscriptions,
      ingest,
      store,
      documents,
      trouble,
      () => totals.sums.events,
    ] as const),
  );
  const refused = (what: string, { code, message }: BackplaneError) => logger.warn({ code }, `${what}: ${message}`);
  const uplink = new UplinkService(registry, budgets, ingest, refused);
  const budgetService = new BudgetService(registry, budgets, trail);
  const forgetService = new ForgetService(registry, trail);
  const gate = new Gate(token, logger);
  const state = { ready: false, waitsFor: options.waitsFor };
  const api = new GrpcApi(subscriptions, registry, listings, budgetService, forgetService);
  const publishing = new PublisherService(publisher);
  const grpc = grpcServer(uplink, api, groupService, publishing);
  const health = healthOf(grpc);
  const showHealth = () => health.setStatus('', servingStatus(state));
  addReflection(grpc);
  const metrics = brokerMetrics({ ...shared, subscriptions, ingest, held, gate, publisher, refusals, groups });
  const http = new HttpApi({
    ...{ version: options.version, subscriptions, registry, listings, publisher, metrics, gate },
    budgets: budgetService,
    forgetting: forgetService,
    groups: groupService,
    origins: options.httpOrigins ?? [],
    notReady: () => (state.ready ? (trouble() ?? state.waitsFor) : 'draining'),
  });
  const served = { gate, grpc, http, uplink, publishing, showHealth, facts, state };
  return { book, registry, trail, budgets, subscriptions, groups, held, watch, ...served };
}

function grpcServer(uplink: UplinkService, api: GrpcApi, groups: GroupService, publishing: PublisherService): Server {
  const grpc = new Server(serverOptions());
  setStreamWindow(grpc);
  grpc.addService(rawService('Uplink'), uplink.handlers());
  grpc.addService(rawService('Backplane'), api.handlers());
  grpc.addService(rawService('Groups'), groupHandlers(groups));
  grpc.addService(rawService('Publisher'), publishing.handlers());
  return grpc;
}

/** Subscriptions, and the groups whose slices are some of them. */
function subscriptionsOf(
  context: DeliveryContext,
  state: SharedState,
  trail: AuditTrail,
  { groups: times = GROUP_DEFAULTS, logger }: BrokerOptions,
) {
  const subscriptions: Subscriptions = new Subscriptions(context, (...member) => groups.join(...member));
  const store = new GroupStore(state);
  const groups: Groups = new Groups({ store, context, subscriptions, times, retention: times, logger });
  return { subscriptions, groups, groupService: new GroupService(groups, store, context, trail) };
}

/**
 * A damaged file costs work but no events: without the claims the broker does not know for which predicates the log is
 * complete, so resumed subscriptions are served from the recorders. Budgets, which nobody could send again, are in a
 * file of their own that is written seldom.
 */
function openState(
  dir: string,
  logger: Logger,
): { interest: SharedState; setBudgets: SharedState; groupState: SharedState } {
  const common = { dir, check: checkNodeState, warn: (message: string) => logger.warn(message) };
  return {
    interest: new StateFile({
      ...common,
      name: 'interest',
      upgrade: interestEntriesOfVersion1,
      consequence:
        'The broker starts without it: nodes are asked anew, what nobody asks for again is no longer asked of them, ' +
        'and subscriptions that resume take from the recorders what the log may lack; their cursors stay valid',
    }),
    setBudgets: new StateFile({
      ...common,
      name: 'budgets',
      upgrade: budgetEntriesOfVersion1,
      consequence: 'Budgets that were set at run time are gone',
    }),
    groupState: new StateFile({
      ...common,
      check: checkGroupState,
      name: 'groups',
      upgrade: () => {
        throw new Error('version 1 had no groups');
      },
      consequence: 'Groups and how far they had got are gone: members make them anew, from now on',
    }),
  };
}

/** The addresses are filled in when the broker listens. */
function factsBeforeListening({ version, dataDir }: BrokerOptions): BrokerFacts {
  // The directory is made absolute, because its readers have other working directories.
  return { version, startedMs: Date.now(), dataDir: resolve(dataDir), grpcListen: '', httpListen: '' };
}

function servingStatus({ ready, waitsFor }: { ready: boolean; waitsFor: string | undefined }) {
  return ready && waitsFor === undefined ? 'SERVING' : 'NOT_SERVING';
}

function healthOf(grpc: Server): HealthImplementation {
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  health.addToServer(grpc);
  return health;
}

function running(
  parts: Parts,
  store: LogStore,
  lock: { release(): void },
  facts: Pick<Broker, 'grpcAddress' | 'httpAddress' | 'tokenFile' | 'tokenNoted'>,
): Broker {
  const { book, registry, budgets, subscriptions, groups, held, watch, uplink, grpc, http, showHealth, state } = parts;
  const sweep = setInterval(() => {
    book.expire(Date.now());
    registry.expire(Date.now());
    keepNote(parts.note);
  }, INTEREST_SWEEP_MS);
  sweep.unref();
  const leasing = setInterval(() => budgets.lease(), LEASE_INTERVAL_MS);
  leasing.unref();
  const watching = setInterval(() => watch.look(), DATA_WATCH_INTERVAL_MS);
  watching.unref();
  const close = async (): Promise<void> => {
    clearInterval(watching);
    watch.close();
    clearInterval(sweep);
    clearInterval(leasing);
    parts.note?.forget();
    parts.gate.close();
    groups.close();
    await parts.trail.close();
    held.close();
    registry.close();
    await http.close();
    grpc.forceShutdown();
    parts.endConnections();
    await store.close();
    await parts.documents.close();
    lock.release();
  };
  const retire = (): void => {
    state.ready = false;
    showHealth();
  };
  let drained: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    retire();
    const deadline = new Promise<void>((resolve) => setTimeout(resolve, DRAIN_MS).unref());
    groups.drain();
    await Promise.race([subscriptions.drain(), deadline]);
    uplink.drain();
    parts.publishing.drain();
    await registry.save();
    await Promise.race([Promise.all([shutDown(grpc), http.end()]), deadline]);
    await close();
  };
  return {
    ...facts,
    waitsFor: (reason) => {
      state.waitsFor = reason;
      showHealth();
    },
    retire,
    drain: () => (drained ??= drain()),
    abort: () => (drained ??= close()),
  };
}

/** Resolves when all running calls have ended, so that what was written reaches the peers. */
function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => server.tryShutdown(() => resolve()));
}
