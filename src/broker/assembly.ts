/** Puts the parts of a broker together, around what was opened for it. */
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, type UntypedServiceImplementation } from '@grpc/grpc-js';
import type { BackplaneError } from '../errors.js';
import { BytePool } from '../flow/byte-pool.js';
import { everySecond } from '../flow/long-timer.js';
import {
  BROKER_LEAVE_MS,
  FRAMES_PER_SECOND_EMBEDDED,
  FRAMES_PER_SECOND_NATS,
  GROUP_COMMIT_TIMEOUT_MS_DEFAULT,
  GROUP_CURSORS_MS_DEFAULT,
  GROUP_INTEREST_MS_DEFAULT,
  GROUP_MEMBER_TIMEOUT_MS_DEFAULT,
  GROUP_REVOKE_TIMEOUT_MS_DEFAULT,
  HISTORY_POOL_BYTES_MAX,
} from '../limits.js';
import { keptNodeGlobs } from '../subscriptions/request/node-globs.js';
import { boundAnswers } from '../wire/grpc/bound-answers.js';
import { Health } from '../wire/grpc/health.js';
import { addReflection } from '../wire/grpc/reflection.js';
import { rawService, type Service } from '../wire/grpc/rpc.js';
import { serverOptions, setStreamWindow } from '../wire/grpc/server-options.js';
import type { AccessControl } from './access/access-control.js';
import { AccessFiles } from './access/access-files.js';
import { AgentAccess } from './access/agent-access.js';
import { openJoin } from './access/join/open-join.js';
import type { ServerTls } from './access/tls/server-tls.js';
import type { BrokerToken } from './access/token-file.js';
import { brokerMetrics } from './api/broker-metrics.js';
import { GrpcApi } from './api/grpc.js';
import { groupHandlers } from './api/grpc-groups.js';
import { HttpApi } from './api/http.js';
import { type BrokerFacts, Listings } from './api/listings.js';
import { PUBLISHING, Publisher } from './app/publisher.js';
import { PublisherService } from './app/publisher-service.js';
import { Balance } from './balance.js';
import { AuditDocuments, RefusalDocuments } from './cluster/audit-documents.js';
import { AuditTrail } from './cluster/audit-trail.js';
import type { SharedState } from './cluster/shared-state.js';
import { CutOff } from './cut-off.js';
import { DataWatch } from './data-watch.js';
import type { Delays } from './delays.js';
import { LedgerTotals } from './delivery/ledger-totals.js';
import { SilencePace } from './delivery/live/silence-pace.js';
import type { DeliveryContext } from './delivery/planned-subscription.js';
import { type JoinGroup, Subscriptions } from './delivery/subscriptions.js';
import { GroupService } from './groups/group-service.js';
import { GroupStore } from './groups/group-store.js';
import { Groups } from './groups/groups.js';
import { ALONE, type GroupPresence } from './groups/presence/group-presence.js';
import type { HeldFrames } from './ingest/held-frames.js';
import { Ingest } from './ingest/ingest.js';
import { UplinkService } from './ingest/uplink-service.js';
import { DOCUMENT_BOUNDS, type DocumentLogs } from './log/documents/document-logs.js';
import { FanOut } from './log/fan-out.js';
import type { LogStore } from './log/log-store.js';
import { BudgetService } from './nodes/budget-service.js';
import { SessionRoute } from './nodes/embedded/session-route.js';
import { ForgetService } from './nodes/forget-service.js';
import { InterestBook } from './nodes/interest-book.js';
import { LeastLinger } from './nodes/least-linger.js';
import { Lingers } from './nodes/lingers.js';
import type { ClusterMember } from './nodes/nats/cluster-member.js';
import { NodeBudgets } from './nodes/node-budgets.js';
import { NodeRegistry } from './nodes/node-registry.js';
import { savedInterest } from './nodes/node-state.js';
import { openState } from './open-state.js';
import type { BrokerOptions } from './options.js';
import { Retirement } from './retirement.js';

/** What a broker has of its disk. */
export interface Opened {
  /** The broker's part of the data directory. */
  readonly dir: string;
  readonly store: LogStore;
  readonly documents: DocumentLogs;
  readonly held: HeldFrames;
  readonly delays: Delays;
  readonly token: BrokerToken | undefined;
  readonly tls: ServerTls | undefined;
  /** What brokers of a cluster keep together, in place of files of this one's; and why it is not read. */
  readonly kept: (SharedState & { readonly trouble: string | undefined }) | undefined;
  /** This broker among those of its cluster. */
  readonly member: ClusterMember | undefined;
  /** Its cluster's name, and what a power cut may lose of it. */
  readonly cluster:
    | { readonly name: string; readonly durability: { readonly text: string; readonly summary: string } }
    | undefined;
}

export type Parts = ReturnType<typeof assemble>;

const NO_ACCESS_FILES = { tokensFile: '', rolesFile: '', webTokens: undefined };
const GROUP_DEFAULTS = {
  memberMs: GROUP_MEMBER_TIMEOUT_MS_DEFAULT,
  commitMs: GROUP_COMMIT_TIMEOUT_MS_DEFAULT,
  revokeMs: GROUP_REVOKE_TIMEOUT_MS_DEFAULT,
  interestMs: GROUP_INTEREST_MS_DEFAULT,
  cursorsMs: GROUP_CURSORS_MS_DEFAULT,
};

/** Throws BackplaneError for options that cannot be followed, before anything runs by itself. */
export function assemble(opened: Opened, options: BrokerOptions) {
  const { dir, store, documents, held, delays, token, tls, kept, member, cluster } = opened;
  const { logger } = options;
  const stateFiles = openState(dir, logger);
  const { interest, setBudgets, groupState, parkedState } = stateFiles;
  const { trail, refusals } = openTrail(documents, options);
  const access = new AccessFiles({
    ...{ ...NO_ACCESS_FILES, ...options.access },
    ...{ dataDir: options.dataDir, token, trail, logger },
  });
  const { gate, control } = access;
  const joining = openJoin(dir, options.tls, control, trail, (message) => logger.warn(message), kept);
  const publisher = new Publisher(documents, options.publishing ?? PUBLISHING);
  const { ingest, takeOver, ...nodes } = nodesOf(opened, interest, kept ?? setBudgets, options);
  const { registry, budgets, leastLinger } = nodes;
  const totals = new LedgerTotals();
  const historyPool = new BytePool(HISTORY_POOL_BYTES_MAX);
  const fanOut = new FanOut(store.all(), () => registry.connectedEverywhere);
  // Whoever asks for something at one broker may be at another one in the next moment.
  const expect = () => fanOut.expect(member !== undefined && member.interest.size > 0);
  expect();
  const endExpecting = member && everySecond(expect);
  const shared = { ...nodes, store, fanOut, documents, historyPool, totals, delays, silence: new SilencePace() };
  const groupStore = new GroupStore(kept ?? groupState, kept ?? parkedState);
  const consumers = consumersOf(shared, groupStore, member?.presence ?? ALONE, trail, control, options);
  const { subscriptions, groups, groupService } = consumers;
  const facts = factsBeforeListening(options, opened);
  const watch = new DataWatch(directories(dir, options), token?.file, logger);
  const trouble = () => troubleOf(watch, held, member, store, documents, kept) ?? registry.saveTrouble;
  const listings = new Listings(
    ...([facts, registry, budgets, subscriptions, ingest, store, documents, trouble] as const),
    () => totals.sums.events,
  );
  const refused = (what: string, { code, message }: BackplaneError) => logger.warn({ code }, `${what}: ${message}`);
  const uplink = new UplinkService(
    ...([registry, budgets, ingest, refused, new AgentAccess(control), options.version, takeOver] as const),
  );
  endWhatIsGrantedNoMore(access, subscriptions, uplink);
  const state = { ready: false, retired: false, waitsFor: options.waitsFor };
  const publishing = new PublisherService(publisher, control);
  const served = { uplink, subscriptions, publishing, trail, member };
  const leaving = leavingOf(served, options, state, () => showHealth());
  const api = {
    ...{ subscriptions, registry, listings, access: control, retirement: leaving.retirement },
    budgets: new BudgetService(registry, budgets, trail),
    forgetting: new ForgetService(registry, trail, member && ((node) => member.forget(node))),
  };
  const grpc = grpcServer({
    Uplink: uplink.handlers(),
    Backplane: new GrpcApi(api).handlers(),
    Groups: groupHandlers(groupService, control),
    Publisher: publishing.handlers(),
    Join: joining.handlers(),
  });
  const showHealth = healthOf(grpc, state);
  addReflection(grpc);
  const http = new HttpApi({
    ...{ ...api, version: options.version, publisher, groups: groupService, gate, tls },
    metrics: brokerMetrics({
      ...{ ...shared, subscriptions, ingest, held, gate, trail, tls, publisher, refusals, groups, member },
    }),
    origins: options.httpOrigins ?? [],
    bounds: options.httpBounds,
    durability: cluster && (() => cluster.durability.summary),
    notReady: () => (state.retired ? 'retired' : state.ready ? (trouble() ?? state.waitsFor) : 'draining'),
  });
  const serving = { access, listings, grpc, http, uplink, publishing, ...leaving, showHealth, facts, state };
  const parts = { registry, leastLinger, trail, budgets, subscriptions, groups, watch, stateFiles, endExpecting };
  return { ...opened, book: nodes.book, ...parts, ...serving };
}

function troubleOf(...parts: readonly ({ readonly trouble: string | undefined } | undefined)[]): string | undefined {
  return parts.find((part) => part?.trouble !== undefined)?.trouble;
}

/** Ends what runs by itself, and the connections; the logs are still open then. */
export async function closeParts({
  access,
  groups,
  held,
  registry,
  watch,
  http,
  grpc,
  trail,
  member,
  stateFiles,
  endExpecting,
}: Parts): Promise<void> {
  endExpecting?.();
  await member?.close();
  watch.close();
  access.close();
  groups.close();
  held.close();
  registry.close();
  await http.listener.close();
  grpc.forceShutdown();
  // Who read what is noted when its stream ends. While NATS is away it is only logged, as a broker has ten seconds to end.
  const noted = trail.close();
  await (member?.trouble === undefined
    ? noted
    : Promise.race([noted, sleep(BROKER_LEAVE_MS, undefined, { ref: false })]));
  // What is still written would replace what the next broker on this directory has written.
  await Promise.all(Object.values(stateFiles).map((file) => file.settled()));
}

/** What this broker keeps on its disk. */
function directories(dir: string, { dataDir, nats }: BrokerOptions): string[] {
  return [dataDir, dir, ...(nats === undefined ? ['log', 'documents'].map((name) => join(dir, name)) : [])];
}

function endWhatIsGrantedNoMore(access: AccessFiles, subscriptions: Subscriptions, uplink: UplinkService): void {
  const changed = () => {
    for (const each of [subscriptions, uplink]) each.review();
  };
  access.listen(changed, () => {
    subscriptions.reviewEnding();
    uplink.review();
  });
}

function openTrail(documents: DocumentLogs, { documents: bounds = DOCUMENT_BOUNDS, logger }: BrokerOptions) {
  const log = documents.of('audit');
  const refusals = new RefusalDocuments(log, bounds.audit);
  return { refusals, trail: new AuditTrail(new AuditDocuments(log), refusals, logger) };
}

function nodesOf(
  { store, held, member }: Opened,
  interest: SharedState,
  setBudgets: SharedState,
  { logger, ceilingBytesPerSecond }: BrokerOptions,
) {
  const book =
    member?.interest ?? new InterestBook(savedInterest(interest), (globs) => keptNodeGlobs(globs).matches, Date.now());
  const own = member === undefined ? interest : undefined;
  const registry = new NodeRegistry(book, store, own, (message) => logger.error(message));
  const ingest = new Ingest(store, held, (record, refusal) => registry.refused(record, refusal));
  const local = new SessionRoute(registry);
  const route = member?.join(registry, local, (node) => ingest.settled(node)) ?? local;
  const whole = ceilingBytesPerSecond === undefined ? undefined : () => ceilingBytesPerSecond;
  const budgets = new NodeBudgets(registry, route, setBudgets, member === undefined ? whole : member.share);
  // One that is here the registry has ended, or refuses to end.
  const takeOver = async (node: string) => {
    if (member === undefined || registry.session(node) !== undefined) return;
    await route.takeover(node);
    // Where it is complete counts on only if nobody has stopped asking since: that may not have been read yet.
    await member.caughtUp();
  };
  const perSecond = member === undefined ? FRAMES_PER_SECOND_EMBEDDED : FRAMES_PER_SECOND_NATS;
  const leastLinger = new LeastLinger(registry, perSecond, ingest.intake);
  return { book, registry, ingest, route, takeOver, budgets, leastLinger, lingers: new Lingers(registry, route) };
}

/** Subscriptions, and the groups whose slices are some of them. */
function consumersOf(
  context: DeliveryContext,
  store: GroupStore,
  presence: GroupPresence,
  trail: AuditTrail,
  access: AccessControl,
  { groups: times = GROUP_DEFAULTS, logger }: BrokerOptions,
) {
  const join: JoinGroup = (...member) => groups.join(...member);
  const subscriptions = new Subscriptions(context, join, access, trail);
  const groups: Groups = new Groups({
    store,
    presence,
    context,
    subscriptions,
    access,
    times,
    retention: times,
    logger,
  });
  return { subscriptions, groups, groupService: new GroupService(groups, store, context, trail, access) };
}

function grpcServer(services: Readonly<Record<Service, UntypedServiceImplementation>>): Server {
  const grpc = new Server(serverOptions(boundAnswers()));
  setStreamWindow(grpc);
  for (const [name, handlers] of Object.entries(services)) grpc.addService(rawService(name as Service), handlers);
  return grpc;
}

/** The addresses are filled in when the broker listens. */
function factsBeforeListening({ version, dataDir }: BrokerOptions, { tls, cluster, member }: Opened): BrokerFacts {
  // The directory is made absolute, because its readers have other working directories.
  const places = { dataDir: resolve(dataDir), grpcListen: '', httpListen: '' };
  const facts = { version, startedMs: Date.now(), ...places, tlsTrouble: () => tls?.trouble };
  if (cluster === undefined || member === undefined) return { ...facts, cluster: undefined };
  const brokers = () =>
    member.brokers().map(({ broker, ...signs }) => ({ ...signs, name: broker, own: broker === member.name }));
  const status = () => ({ cluster: cluster.name, durability: cluster.durability.text, brokers: brokers() });
  return { ...facts, cluster: { status, nodes: (names) => member.nodes(names) } };
}

/** Whether the broker takes calls; `waitsFor` says why it does not yet. */
interface ServingState {
  readonly ready: boolean;
  retired: boolean;
  readonly waitsFor: string | undefined;
}

interface Served {
  readonly uplink: UplinkService;
  readonly subscriptions: Subscriptions;
  readonly publishing: PublisherService;
  readonly trail: AuditTrail;
  readonly member: ClusterMember | undefined;
}

/** What sends agents and subscribers, or some of them, to other brokers. */
function leavingOf(
  { uplink, subscriptions, publishing, trail, member }: Served,
  { others = () => member?.others ?? 0, logger }: BrokerOptions,
  state: ServingState,
  showHealth: () => void,
) {
  const parts = { agents: uplink, subscribers: subscriptions, publishers: publishing, others, trail, logger };
  const begins = () => {
    state.retired = true;
    member?.retire();
    showHealth();
  };
  const cutOff = new CutOff({ trouble: () => member?.trouble, others, agents: uplink, logger });
  // One that is retired or cut off sends all of them away by other rules.
  const isSettled = () => !state.retired && member?.trouble === undefined;
  const balance = new Balance({
    others: () => (isSettled() ? (member?.othersNodes() ?? []) : []),
    agents: uplink,
    logger,
  });
  return { retirement: new Retirement({ ...parts, begins }), cutOff, balance };
}

/** Returns what shows how it is now. */
function healthOf(grpc: Server, state: ServingState): () => void {
  const health = new Health(grpc);
  return () => health.show(servingStatus(state));
}

function servingStatus({ ready, retired, waitsFor }: ServingState) {
  return ready && !retired && waitsFor === undefined ? 'SERVING' : 'NOT_SERVING';
}
