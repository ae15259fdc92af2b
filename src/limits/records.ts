/** What a broker keeps of nodes that are gone, and of what was done to them. */
import { MiB } from './units.js';

/** Of the nodes that a broker knows, names that came from one address: whoever is there cannot take all. */
export const NODES_PER_PEER_MAX = 1024;
/** How long a node that is gone stays listed; and one of which no frame ever became durable. */
export const NODE_KEPT_MS = 30 * 24 * 3600 * 1000;
export const NODE_UNPROVEN_KEPT_MS = 600_000;
/** When a node was last seen is written down at least this often. */
export const NODE_SEEN_SAVE_MS = 60_000;
/** Nodes that were connected when a broker ended are back by then, or gone. */
export const NODE_RETURN_MS = 10_000;

/** What operators changed, and who: of each of two files. */
export const AUDIT_BYTES_MAX = 8 * MiB;
/** What was refused: of each of two files; how often it is written, and lines each time. */
export const AUDIT_REFUSED_BYTES_MAX = 1 * MiB;
export const AUDIT_REFUSED_INTERVAL_MS = 1_000;
export const AUDIT_REFUSED_LINES_MAX = 16;
/** Of a refused request, what is kept on record: as much as fits a line that people read. */
export const AUDIT_TEXT_CHARACTERS_MAX = 512;
