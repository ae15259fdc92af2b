/**
 * A broker in this process: the log, the nodes, the subscriptions, and the two
 * servers in front of them.
 */
import { join, resolve } from 'node:path';
import { Server, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';
import { noteToken, runtimeDirectory, type TokenNote } from '../access/token-note.js';
import type { BackplaneError } from '../errors.js';
import { BytePool } from '../flow/byte-pool.js';
import {
  ACCESS_FILES_INTERVAL_MS,
  AUDIT_BYTES_MAX,
  AUDIT_REFUSED_BYTES_MAX,
  DATA_WATCH_INTERVAL_MS,
  DRAIN_MS,
  HISTORY_POOL_BYTES_MAX,
  LEASE_INTERVAL_MS,
} from '../limits.js';
import { lockDirectory } from '../storage/dir-lock.js';
import { type FileOps, nodeFileOps } from '../storage/file-ops.js';
import { keptNodeGlobs } from '../subscriptions/request/node-globs.js';
import { addReflection } from '../wire/grpc/reflection.js';
import { rawService, type Service } from '../wire/grpc/rpc.js';
import { serverOptions, setStreamWindow } from '../wire/grpc/server-options.js';
import { AccessFiles, type AccessOptions } from './access/access-files.js';
import { AgentAccess } from './access/agent-access.js';
import { openJoin } from './access/join/open-join.js';
import { bindGrpc, bindHttp, parseListenAddress } from './access/listen.js';
import { ServerTls, type TlsFiles } from './access/tls/server-tls.js';
import { type BrokerToken, brokerToken } from './access/token-file.js';
import { brokerMetrics } from './api/broker-metrics.js';
import { GrpcApi } from './api/grpc.js';
import { HttpApi } from './api/http.js';
import { type BrokerFacts, Listings } from './api/listings.js';
import { AuditTrail } from './cluster/audit-trail.js';
import { AuditFile } from './cluster/embedded/audit-file.js';
import { StateFile } from './cluster/embedded/state-file.js';
import type { SharedState } from './cluster/shared-state.js';
import { DataWatch } from './data-watch.js';
import { Delays } from './delays.js';
import { newTotals } from './delivery/outlet.js';
import { Subscriptions } from './delivery/subscriptions.js';
import { HeldFrames } from './ingest/held-frames.js';
import { Ingest } from './ingest/ingest.js';
import { UplinkService } from './ingest/uplink-service.js';
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
  /** Both ports use TLS, with this certificate; undefined: nothing is encrypted. */
  readonly tls?: TlsFiles | undefined;
  /** Allows listening on addresses beyond loopback, without encryption. */
  readonly insecure: boolean;
  /** Calls must carry the token in DATA_DIR/token, which is made if it is missing. */
  readonly token: boolean;
  /** Who may do what besides the holder of that token; nobody by default. */
  readonly access?: Partial<Pick<AccessOptions, 'tokensFile' | 'rolesFile' | 'webTokens'>>;
  readonly log: {
    readonly bytesMax: number;
    readonly ageMsMax: number;
    readonly fsync: FsyncMode;
    /** File operations of the log; the real file system by default. */
    readonly files?: FileOps;
  };
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
  /** Reads the files of tokens and roles again, as happens when they change; false when there are none. */
  reload(): boolean;
  /** Makes health and readiness report that the broker ends soon; everything else continues. */
  retire(): void;
  /** Retires, ends streams after a last cursor, flushes the log and closes everything. Idempotent. */
  drain(): Promise<void>;
  /** Ends at once, as a kill would, but releases ports and files. For tests. */
  abort(): Promise<void>;
}

const INTEREST_SWEEP_MS = 1_000;
const NO_ACCESS_FILES = { tokensFile: '', rolesFile: '', webTokens: undefined };

/** Throws a one-line BackplaneError, for example for an address in use or a directory that is locked or read-only. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const anywhere = options.insecure || options.tls !== undefined;
  const grpcListen = parseListenAddress('grpc.listen', options.grpcListen, anywhere);
  const httpListen = parseListenAddress('http.listen', options.httpListen, anywhere);
  const dir = join(options.dataDir, 'broker');
  const lock = lockDirectory(dir);
  let store: LogStore | undefined;
  let tls: ServerTls | undefined;
  try {
    tls = options.tls && new ServerTls(options.tls, options.logger);
    const held = heldFrames(options.logger);
    const delays = new Delays();
    store = await openStore(dir, options, held, delays);
    const token = options.token ? brokerToken(options.dataDir, (message) => options.logger.warn(message)) : undefined;
    const parts = assemble(dir, store, held, token, tls, delays, options);
    const { address: grpcAddress, endConnections } = await bindGrpc(parts.grpc, grpcListen, parts.access.gate, tls);
    const httpAddress = await bindHttp(parts.http.listener.server, httpListen).catch((cause) => {
      parts.grpc.forceShutdown();
      throw cause;
    });
    parts.facts.grpcListen = grpcAddress;
    parts.facts.httpListen = httpAddress;
    parts.state.ready = true;
    parts.showHealth();
    const note = token && noted(token, grpcAddress, options.logger);
    const facts = { grpcAddress, httpAddress, tokenFile: token?.file, tokenNoted: note !== undefined };
    return running({ ...parts, tls, endConnections, note }, store, lock, facts);
  } catch (cause) {
    tls?.close();
    await store?.close();
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
  readonly tls: ServerTls | undefined;
  readonly endConnections: () => void;
  readonly note: TokenNote | undefined;
};

function assemble(
  dir: string,
  store: LogStore,
  held: HeldFrames,
  token: BrokerToken | undefined,
  tls: ServerTls | undefined,
  delays: Delays,
  options: BrokerOptions,
) {
  const { logger } = options;
  const { interest, setBudgets } = openState(dir, logger);
  const book = new InterestBook(savedInterest(interest), (globs) => keptNodeGlobs(globs).matches, Date.now());
  const registry = new NodeRegistry(book, store, interest, (message) => logger.error(message));
  const route = new SessionRoute(registry);
  const budgets = new NodeBudgets(registry, route, setBudgets, options.ceilingBytesPerSecond);
  const fanOut = new FanOut(store.all());
  const ingest = new Ingest(store, held, (record, refusal) => registry.refused(record, refusal));
  const totals = newTotals();
  const historyPool = new BytePool(HISTORY_POOL_BYTES_MAX);
  const trail = auditTrail(dir, logger);
  const access = openAccess(options, token, trail);
  const { gate, control } = access;
  const lingers = new Lingers(registry, route);
  const shared = { store, fanOut, registry, route, book, lingers, historyPool, totals, delays };
  const subscriptions = new Subscriptions(shared, control, trail);
  const facts = factsBeforeListening(options, tls);
  const watch = new DataWatch([options.dataDir, dir, join(dir, 'log')], token?.file, logger);
  const trouble = () => watch.trouble ?? held.trouble ?? registry.saveTrouble;
  const listings = new Listings(facts, registry, budgets, subscriptions, ingest, store, trouble, () => totals.events);
  const refused = (what: string, { code, message }: BackplaneError) => logger.warn({ code }, `${what}: ${message}`);
  const uplink = new UplinkService(registry, budgets, ingest, refused, new AgentAccess(control));
  access.listen(() => {
    for (const each of [subscriptions, uplink]) each.review();
  });
  const budgetService = new BudgetService(registry, budgets, trail);
  const forgetService = new ForgetService(registry, trail);
  const api = { subscriptions, registry, listings, budgets: budgetService, forgetting: forgetService, access: control };
  const state = { ready: false, waitsFor: options.waitsFor };
  const joining = openJoin(dir, options.tls, control, trail, (message) => logger.warn(message));
  const services = { Uplink: uplink.handlers(), Backplane: new GrpcApi(api).handlers(), Join: joining.handlers() };
  const grpc = grpcServer(services);
  const health = healthOf(grpc);
  const showHealth = () => health.setStatus('', servingStatus(state));
  addReflection(grpc);
  const http = new HttpApi({
    ...api,
    version: options.version,
    metrics: brokerMetrics({ ...shared, subscriptions, ingest, held, gate, trail, tls }),
    gate,
    tls,
    origins: options.httpOrigins ?? [],
    notReady: () => (state.ready ? (trouble() ?? state.waitsFor) : 'draining'),
  });
  return {
    book,
    registry,
    trail,
    budgets,
    subscriptions,
    held,
    watch,
    uplink,
    access,
    grpc,
    http,
    showHealth,
    facts,
    state,
  };
}

function openAccess(options: BrokerOptions, token: BrokerToken | undefined, trail: AuditTrail): AccessFiles {
  const { dataDir, access, logger } = options;
  return new AccessFiles({ ...NO_ACCESS_FILES, ...access, dataDir, token, trail, logger });
}

function grpcServer(services: Readonly<Record<Service, UntypedServiceImplementation>>): Server {
  const grpc = new Server(serverOptions());
  setStreamWindow(grpc);
  for (const [name, handlers] of Object.entries(services)) grpc.addService(rawService(name as Service), handlers);
  return grpc;
}

/**
 * A damaged file costs work but no events: without the claims the broker does not know for which predicates the log is
 * complete, so resumed subscriptions are served from the recorders. Budgets, which nobody could send again, are in a
 * file of their own that is written seldom.
 */
function openState(dir: string, logger: Logger): { interest: SharedState; setBudgets: SharedState } {
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
  };
}

/** The addresses are filled in when the broker listens. */
function factsBeforeListening({ version, dataDir }: BrokerOptions, tls: ServerTls | undefined): BrokerFacts {
  // The directory is made absolute, because its readers have other working directories.
  const places = { dataDir: resolve(dataDir), grpcListen: '', httpListen: '' };
  return { version, startedMs: Date.now(), ...places, tlsTrouble: () => tls?.trouble };
}

function auditTrail(dir: string, logger: Logger): AuditTrail {
  const changes = new AuditFile(dir, 'audit', AUDIT_BYTES_MAX);
  return new AuditTrail(changes, new AuditFile(dir, 'audit-refused', AUDIT_REFUSED_BYTES_MAX), logger);
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
  const { book, registry, budgets, subscriptions, held, watch, uplink, grpc, http, showHealth, state } = parts;
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
  const looking = setInterval(() => parts.access.look(), ACCESS_FILES_INTERVAL_MS);
  looking.unref();
  const close = async (): Promise<void> => {
    clearInterval(watching);
    clearInterval(looking);
    watch.close();
    clearInterval(sweep);
    clearInterval(leasing);
    parts.note?.forget();
    parts.access.close();
    parts.tls?.close();
    held.close();
    registry.close();
    await http.listener.close();
    grpc.forceShutdown();
    parts.endConnections();
    await parts.trail.close();
    await store.close();
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
    await Promise.race([subscriptions.drain(), deadline]);
    uplink.drain();
    await registry.save();
    await Promise.race([Promise.all([shutDown(grpc), http.listener.end()]), deadline]);
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
    retire,
    drain: () => (drained ??= drain()),
    abort: () => (drained ??= close()),
  };
}

/** Resolves when all running calls have ended, so that what was written reaches the peers. */
function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => server.tryShutdown(() => resolve()));
}
