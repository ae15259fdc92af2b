/** Bounds of clients. They run in browsers, so that this file stands for itself. */

/** An error's message, in characters: percent-encoded it must fit a gRPC trailer. */
export const ERROR_CHARACTERS_MAX = 1024;

/** How many brokers a client tries in turn. */
export const BROKERS_MAX = 16;
/** A broker that failed is asked after all others for so long, unless it answers before: a restart takes less. */
export const BROKER_SUSPECT_MS = 30_000;
/** Clients of a broker that died go to others spread over this time. */
export const RECONNECT_MOVE_MS_MAX = 200;
/** How long a client waits for a broker's first answer: longer than a broker tries, so that it hears why that failed. */
export const CLIENT_ANSWER_MS = 12_000;
/** Reconnects back off between these, with jitter. */
export const RECONNECT_MS_MIN = 100;
export const RECONNECT_MS_MAX = 2_000;
/** The upper bound for the first attempts, which take some ten seconds in all. */
export const RECONNECT_SOON_MS_MAX = 500;
export const RECONNECT_SOON_ATTEMPTS = 32;
/** Notices of gaps that a client holds back until their cursor. */
export const HELD_GAPS_MAX = 10_000;
/** One line of a stream of JSON, in characters: coverage of every node is the longest. */
export const LINE_CHARACTERS_MAX = 16 * 1024 * 1024;
/** A stream of JSON on which nothing came for so long is dead: brokers fill each silence after a third of it. */
export const STREAM_SILENCE_MS_MAX = 45_000;
/** Events of a stream of JSON that wait for their cursor: more than brokers send together. */
export const LINE_EVENTS_MAX = 16_384;
/** Events of the past that a request asks for by their number: over several clusters the client holds them. */
export const LAST_MAX = 10_000;
/** Events that a request gets which states neither a start nor an amount. */
export const LAST_DEFAULT = 20;
/** Clusters that one subscription is merged of: each has one item waiting in the client. */
export const CLUSTERS_MAX = 16;
export const CLUSTER_CURSOR_CHARACTERS_MAX = 96 * 1024;
/** A replay over several clusters does not wait for longer for one that went away. */
export const CLUSTER_AWAY_MS = 10_000;
/** For how long a batch is sent again of which no broker takes notice, once one has. */
export const PUBLISH_AWAY_MS = 10_000;
/** Batches that one client has waiting to be published. */
export const PUBLISH_WAITING_MAX = 1_024;
/** Items of a list that a client asks for, page by page: more than a broker has. */
export const LISTED_MAX = 65_536;
