/** Several clusters, read as one. Runs in browsers. */
/// <reference lib="esnext.disposable" preserve="true" />
import { asBackplaneError, BackplaneError, invalid } from '../../errors.js';
import { CLUSTERS_MAX } from '../../limits/client.js';
import { CLUSTER_NAME_FORM, isClusterName } from '../clusters/cluster-cursor.js';
import { mergedStream } from '../clusters/merged-stream.js';
import { BATCH_FORM } from './batch-form.js';
import { type Bus, CarriedBus, type Carrier } from './bus.js';
import { type Feed, ResumingFeed } from './feed.js';
import { requestOf, type Subscription } from './items.js';

/** Connections to several clusters. */
export interface Clusters extends AsyncDisposable {
  readonly names: readonly string[];
  /**
   * One subscription over all of them. Nodes are `cluster/node`, in what is asked too; a glob without a cluster is of each
   * of them. The past of all comes first, merged by wall time, then what is live as it comes. Cursors are of all clusters
   * together, and resume over the same ones. A cluster that is away is told as `link`, and the others go on.
   */
  subscribe(subscription?: Subscription): Feed;
  /** One of them, for what is of one: groups, publishing, lists. @throws BackplaneError not_found */
  cluster(name: string): Bus;
  /** Ends all feeds and connections; what `await using` calls. */
  close(): Promise<void>;
}

/**
 * The options of each cluster by its name, checked.
 * @param check throws for options that are not sound; `within` is the name before their names
 * @throws BackplaneError invalid_argument
 */
export function checkedClusters<Options>(
  clusters: Readonly<Record<string, Options>>,
  check: (options: Options, within: string) => void,
): readonly (readonly [name: string, options: Options])[] {
  const entries = Object.entries(clusters);
  if (entries.length === 0 || entries.length > CLUSTERS_MAX)
    throw invalid('clusters', `must be 1 to ${CLUSTERS_MAX} clusters by name, got ${entries.length}`);
  for (const [name, options] of entries) {
    if (!isClusterName(name)) throw invalid('clusters', `a name ${CLUSTER_NAME_FORM}, got ${JSON.stringify(name)}`);
    check(options, `clusters.${name}.`);
  }
  return entries;
}

/** Resolves when one of them is connected. @throws BackplaneError unavailable when none is */
export async function someConnected(connecting: ReadonlyMap<string, Promise<void>>): Promise<void> {
  await Promise.any(connecting.values()).catch(async () => {
    const reasons: string[] = [];
    for (const [name, attempt] of connecting)
      await attempt.catch((cause) => reasons.push(`${name} (${asBackplaneError(cause).message})`));
    throw new BackplaneError('unavailable', `no cluster answers: ${reasons.join(', ')}`);
  });
}

export class CarriedClusters implements Clusters {
  readonly #carriers: ReadonlyMap<string, Carrier>;
  readonly #buses: ReadonlyMap<string, Bus>;
  readonly #closing = new AbortController();

  constructor(carriers: ReadonlyMap<string, Carrier>) {
    this.#carriers = carriers;
    this.#buses = new Map(Array.from(carriers, ([name, carrier]) => [name, new CarriedBus(carrier)]));
  }

  get names(): readonly string[] {
    return [...this.#carriers.keys()];
  }

  subscribe(subscription: Subscription = {}): Feed {
    const request = requestOf(subscription);
    const sources = Array.from(this.#carriers, ([name, carrier]) => {
      return { name, stream: carrier.stream.bind(carrier) };
    });
    const open = (signal: AbortSignal) => mergedStream(sources, BATCH_FORM, request, signal);
    return new ResumingFeed(open, request.cursor ?? '', subscription.signal, this.#closing.signal);
  }

  cluster(name: string): Bus {
    const bus = this.#buses.get(name);
    if (bus !== undefined) return bus;
    throw new BackplaneError('not_found', `no cluster is called ${JSON.stringify(name)}: ${this.names.join(', ')}`);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(Array.from(this.#buses.values(), (bus) => bus.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
