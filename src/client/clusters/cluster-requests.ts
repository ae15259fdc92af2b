/**
 * What each of several clusters is asked for one subscription over all of them. Runs in browsers.
 *
 *   selector := [cluster "/"] what a request has in `nodes`      without a cluster it is of each of them
 */
import { invalid } from '../../errors.js';
import { LAST_DEFAULT } from '../../limits/client.js';
import { msToNs } from '../../nanoseconds.js';
import { durationText, parseDuration, timestampNsText } from '../../text/time-text.js';
import type { ResumableRequest } from '../resumption.js';
import { type ClusterPlace, decodeClusterCursor } from './cluster-cursor.js';

export interface ClusterableRequest extends ResumableRequest {
  readonly nodes?: readonly string[] | null | undefined;
}

export interface ClusterRequest<Request> {
  readonly name: string;
  readonly request: Request;
  /** Asked of a cluster that was away when the subscription began, so long ago: it begins where the others did. */
  later(elapsedMs: number): Request;
  readonly place: ClusterPlace;
}

/** From where a recording is told that has no beginning of its own. */
const ALWAYS = '1970-01-01T00:00:00Z';

/**
 * How long ago a window begins is left to each cluster's brokers: the clock of this side may be another. Clusters of which
 * no node is asked are left out.
 * @throws BackplaneError invalid_argument; cursor_invalid
 */
export function clusterRequests<Request extends ClusterableRequest>(
  names: readonly string[],
  given: Request,
  nowMs: number,
): readonly ClusterRequest<Request>[] {
  if (given.group) throw invalid('group', 'is of one cluster: join it there');
  const { since = '', until = '', cursor = '', follow = false } = given;
  const limit = Number(given.limit ?? 0);
  const isDefault = !(since || until || cursor || follow || given.last || limit);
  const last = isDefault ? LAST_DEFAULT : (given.last ?? 0);
  if (cursor !== '' && (since !== '' || last > 0))
    throw invalid('cursor', `excludes ${since === '' ? 'last' : 'since'}: a cursor is a place to start from`);
  // Of the last events of all the first are wanted, and not of each.
  const limited = last > 0 ? { limit: 0 } : {};
  const asked = globsByCluster(given.nodes ?? [], names);
  const places = cursor === '' ? undefined : decodeClusterCursor(cursor, [...asked.keys()]);
  const now = timestampNsText(msToNs(nowMs));
  // What was there before a follower came is not asked for.
  const start = atTime(since, nowMs) || (last > 0 || follow ? now : ALWAYS);
  const requests: ClusterRequest<Request>[] = [];
  for (const [name, nodes] of asked) {
    const place = places?.get(name) ?? { cursor: '', since: start };
    const first = { ...given, ...limited, nodes, last, cursor: '' };
    const resumed = { ...first, since: place.cursor === '' ? place.since : '', cursor: place.cursor };
    const later = (elapsedMs: number) => (places ? resumed : { ...first, since: longAgo(since, elapsedMs), last: 0 });
    requests.push({ name, request: places ? resumed : first, later, place });
  }
  return requests;
}

/** What is no duration is a time, or refused by the brokers. */
function atTime(text: string, nowMs: number): string {
  const duration = parseDuration(text);
  return duration === undefined || duration < 0n ? text : timestampNsText(msToNs(nowMs) - duration);
}

/** The same start, said so much later. Without one it was then. */
function longAgo(since: string, elapsedMs: number): string {
  const duration = since === '' ? 0n : parseDuration(since);
  return duration === undefined ? since : durationText(duration + msToNs(Math.max(1, elapsedMs)));
}

/** By cluster, the globs of its nodes. @throws BackplaneError invalid_argument for a glob of a cluster that is not asked */
function globsByCluster(globs: readonly string[], names: readonly string[]): ReadonlyMap<string, string[]> {
  if (globs.length === 0) return new Map(names.map((name) => [name, []]));
  const by = new Map<string, string[]>();
  for (const glob of globs) {
    const at = glob.indexOf('/');
    const cluster = names.find((name) => name === glob.slice(0, Math.max(0, at)));
    // Identities and keys of labels may have a "/" of their own.
    if (cluster === undefined && at >= 0 && !glob.startsWith('@') && !glob.includes('='))
      throw invalid('node', `${JSON.stringify(glob)} is of none of the clusters ${names.join(', ')}`);
    const own = cluster === undefined ? glob : glob.slice(at + 1);
    for (const name of cluster === undefined ? names : [cluster]) by.set(name, [...(by.get(name) ?? []), own]);
  }
  return by;
}
