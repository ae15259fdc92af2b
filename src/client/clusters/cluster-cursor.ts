/**
 * The cursor of a subscription over several clusters: a place in each. Runs in browsers.
 *
 *   cursor := "clusters1" ("," name "~" place ["~" passed])+
 *   place  := the cluster's own cursor | "@" RFC 3339: it has told none, and begins there
 *   passed := node "~" topic "~" epoch "." timeNs "." lane "." tie ["." "refill"]
 *
 * Behind a place, events of `passed`'s node and topic up to its position were delivered already: of a batch that was
 * delivered in part. Node and topic are percent-encoded. The cluster's own cursor is checked by its brokers.
 */
import { type BackplaneError, cursorInvalid } from '../../errors.js';
import { CLUSTER_CURSOR_CHARACTERS_MAX, CLUSTERS_MAX } from '../../limits/client.js';
import { parseTimestamp } from '../../text/time-text.js';
import type { Position } from '../../wire/position.js';

/** The last delivered event of a batch that was delivered in part. */
export interface PassedEvent {
  readonly node: string;
  readonly topic: string;
  readonly refill: boolean;
  readonly position: Position;
}

export interface ClusterPlace {
  /** The cluster's own; '' where it has told none. */
  readonly cursor: string;
  /** RFC 3339: where it begins without one. */
  readonly since: string;
  readonly passed?: PassedEvent | undefined;
}

const VERSION = 1;
const HEAD = /^clusters(\d{1,4})$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const OWN_CURSOR = /^[A-Za-z0-9_-]+$/;
const POSITION = /^(\d{1,16})\.(\d{1,20})\.(\d{1,5})\.(\d{1,10})(\.refill)?$/;
/** Percent-encoded, and long enough for any node and topic. */
const WORD = /^(?:[A-Za-z0-9._!'()*-]|%[0-9A-F]{2}){0,1024}$/;

/** What clusters are called: no "/", which stands between a cluster and its node, and nothing that a cursor is made of. */
export function isClusterName(name: string): boolean {
  return NAME.test(name);
}

export const CLUSTER_NAME_FORM =
  'must be at most 63 letters, digits, ".", "_" or "-", and begin with a letter or digit';

export function encodeClusterCursor(places: ReadonlyMap<string, ClusterPlace>): string {
  const parts = Array.from(places, ([name, { cursor, since, passed }]) => {
    const place = `${name}~${cursor === '' ? `@${since}` : cursor}`;
    return passed === undefined ? place : `${place}~${passedText(passed)}`;
  });
  return [`clusters${VERSION}`, ...parts].join(',');
}

/**
 * The place in each of the clusters `names`.
 * @throws BackplaneError cursor_invalid for anything that encodeClusterCursor did not make, and for one of other clusters
 */
export function decodeClusterCursor(text: string, names: readonly string[]): ReadonlyMap<string, ClusterPlace> {
  if (text.length > CLUSTER_CURSOR_CHARACTERS_MAX)
    throw bad(`must be at most ${CLUSTER_CURSOR_CHARACTERS_MAX} characters, got ${text.length}`);
  const [head = '', ...parts] = text.split(',');
  const version = HEAD.exec(head)?.[1];
  if (version === undefined) throw bad('is of one cluster: it resumes there, without the others');
  if (Number(version) !== VERSION)
    throw bad(`is of version ${version}, this client reads version ${VERSION}: begin with since or last instead`);
  if (parts.length > CLUSTERS_MAX) throw bad(`must name at most ${CLUSTERS_MAX} clusters, got ${parts.length}`);
  const places = new Map<string, ClusterPlace>();
  for (const part of parts) {
    const [name = '', place = '', ...passed] = part.split('~');
    if (!isClusterName(name)) throw bad('is cut or changed: a cluster has no name');
    if (!names.includes(name))
      throw bad(`names the cluster ${name}, which is not among those asked: ${names.join(', ')}`);
    if (places.has(name)) throw bad(`names the cluster ${name} twice`);
    places.set(name, placeOf(name, place, passed));
  }
  const missing = names.filter((name) => !places.has(name));
  if (missing.length > 0) throw bad(`has no place in ${missing.join(', ')}: begin with since or last instead`);
  return places;
}

function placeOf(name: string, place: string, passed: readonly string[]): ClusterPlace {
  const since = place.startsWith('@') ? place.slice(1) : '';
  const isSound = since === '' ? OWN_CURSOR.test(place) : parseTimestamp(since) !== undefined;
  if (!isSound) throw bad(`is cut or changed: the place in ${name} cannot be read`);
  return { cursor: since === '' ? place : '', since, passed: passedOf(name, passed) };
}

function passedOf(name: string, parts: readonly string[]): PassedEvent | undefined {
  if (parts.length === 0) return undefined;
  const [node = '', topic = '', at = ''] = parts;
  const found = POSITION.exec(at);
  if (parts.length !== 3 || !found || !WORD.test(node) || !WORD.test(topic))
    throw bad(`is cut or changed: the event in ${name} cannot be read`);
  const [epoch, lane, tie] = [Number(found[1]), Number(found[3]), Number(found[4])];
  if (!Number.isSafeInteger(epoch) || lane > 0xffff || tie > 0xffff_ffff || BigInt(found[2]!) >= 1n << 64n)
    throw bad(`has a number in ${name} that is none of a position`);
  const position = { epoch, timeNs: BigInt(found[2]!), lane, tie };
  return { node: plain(name, node), topic: plain(name, topic), refill: found[5] !== undefined, position };
}

function passedText({ node, topic, refill, position }: PassedEvent): string {
  const { epoch, timeNs, lane, tie } = position;
  return `${encoded(node)}~${encoded(topic)}~${epoch}.${timeNs}.${lane}.${tie}${refill ? '.refill' : ''}`;
}

function encoded(word: string): string {
  return encodeURIComponent(word).replaceAll('~', '%7E');
}

function plain(name: string, word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    throw bad(`is cut or changed: the event in ${name} cannot be read`);
  }
}

function bad(message: string): BackplaneError {
  return cursorInvalid(`cursor ${message}`);
}
