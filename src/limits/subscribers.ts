/** Bounds of subscriptions, most of which are idle, and of what they are told in silence. */
import { KiB } from './units.js';

/** Subscriptions at once, members of groups among them. An idle one takes less than 64 KiB of a broker's memory. */
export const SUBSCRIPTIONS_MAX = 8_192;
/** Items on one page of a list, and the bytes of them that may be long: a page must fit a message. */
export const PAGE_ITEMS_MAX = 1_000;
export const PAGE_BYTES = 256 * KiB;
/**
 * Watermarks and gaps of one subscription: at most one per node and reason in this time. While events come they wait a
 * little longer for the next, so that they wake nobody by themselves.
 */
export const NOTICE_INTERVAL_MS = 1_000;
export const NOTICE_SLACK_MS = 250;
/** Nodes whose watermark one subscription is told in one interval; the others follow in the next. */
export const WATERMARKS_PER_INTERVAL_MAX = 32;
/**
 * Subscriptions that are told of silence in a second, of all for which nothing comes; and the longest time that one of
 * them waits for it: who resumes reads at most so much of the log again. Signs of life for proxies come oftener.
 */
export const SILENCES_PER_SECOND = 100;
export const SILENCE_INTERVAL_MS_MAX = 60_000;
/** Pairs of node and topic of a partition whose ends are known to whoever passes its frames; the silent go first. */
export const TOPIC_ENDS_MAX = 65_536;
/**
 * At every change each node arranges all of its predicates anew. Where it has many, changes gather: after it was told, for
 * so long for each of them.
 */
export const INTEREST_GATHER_MS_PER_PREDICATE = 0.5;
