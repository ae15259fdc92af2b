/** Bounds of a broker's records: nodes that are gone, and changes and refusals. */
/** Names of known nodes that came from one address, so that one address cannot take all places. */
export const NODES_PER_PEER_MAX = 1024;
/** How long a node that is gone stays listed, and how long if no frame of it ever became durable. */
export const NODE_KEPT_MS = 30 * 24 * 3600 * 1000;
export const NODE_UNPROVEN_KEPT_MS = 600_000;
/** The time at which a node was last seen is saved at least this often. */
export const NODE_SEEN_SAVE_MS = 60_000;
/** A node that was connected when a broker ended is taken for gone if it is not back by then. */
export const NODE_RETURN_MS = 10_000;

/** Entries of the audit that wait for a sync. */
export const AUDIT_ENTRIES_MAX = 16_384;
/** How often refusals are written, and the entries written each time. */
export const AUDIT_REFUSED_INTERVAL_MS = 1_000;
export const AUDIT_REFUSED_LINES_MAX = 16;
/** Text kept on record of a refused request: as much as fits a readable line. */
export const AUDIT_TEXT_CHARACTERS_MAX = 512;
