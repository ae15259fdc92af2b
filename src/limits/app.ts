/** Bounds of what applications publish, of the logs of documents, and of the ids that are remembered. */
import { GiB, KiB, MiB } from './units.js';

/** A batch, as it arrives: whole messages of gRPC have the same bound. */
export const PUBLISH_EVENTS_MAX = 1_000;
export const PUBLISH_BYTES_MAX = 1 * MiB;
/** The body of an event as JSON text, and how deep it nests; CloudEvents wants all to take events of 64 KiB. */
export const PUBLISH_BODY_BYTES_MAX = 32 * KiB;
export const JSON_DEPTH_MAX = 16;
/** Attributes: an id is kept for as long as duplicates are recognised, a key is hashed. */
export const PUBLISH_ID_BYTES_MAX = 256;
export const PUBLISH_TYPE_BYTES_MAX = 256;
export const PUBLISH_TEXT_BYTES_MAX = 1 * KiB;
/** Nodes that an alert names. */
export const ALERT_NODES_MAX = 256;
/** Names of topics: two letters of JSON each at most, in every batch. */
export const APP_TOPIC_BYTES_MAX = 128;
/** Batches of one stream that are read and not acknowledged yet; further ones are not read. */
export const PUBLISH_BATCHES_WAITING_MAX = 16;
/** What an identity may publish, unless settings say otherwise. The burst holds the largest batch at the least. */
export const PUBLISH_BYTES_PER_SECOND_DEFAULT = 1 * MiB;
export const PUBLISH_EVENTS_PER_SECOND_DEFAULT = 1_000;
export const PUBLISH_BURST_MS_DEFAULT = 4_000;
/** Identities whose rates are remembered; the one that published least recently is forgotten first, and has its burst. */
export const PUBLISHERS_MAX = 4_096;

/** How long an id is remembered, and how many of one identity and topic. Alerts come again after engines restart. */
export const KNOWN_IDS_MS_DEFAULT = 600_000;
export const KNOWN_IDS_MAX_DEFAULT = 100_000;
export const KNOWN_ALERT_IDS_MS = 24 * 3600 * 1000;
/** Ids of all windows together, some 150 bytes each; beyond, the fullest window loses its oldest. */
export const KNOWN_IDS_TOTAL_MAX = 400_000;
/** Pairs of identity and topic with ids; beyond, the one that was used least recently is forgotten. */
export const KNOWN_IDS_WINDOWS_MAX = 4_096;
/** Topics with a window of their own. */
export const KNOWN_IDS_TOPICS_MAX = 64;

/** Sizes and ages of the logs. Audit is kept for a year. */
export const DOCUMENT_LOG_BYTES_MIN = 16 * MiB;
export const DOCUMENT_LOG_BYTES_MAX = 1024 * GiB;
export const APP_LOG_BYTES_DEFAULT = 256 * MiB;
export const ALERT_LOG_BYTES_DEFAULT = 256 * MiB;
export const AUDIT_LOG_BYTES_DEFAULT = 256 * MiB;
const DAY_MS = 24 * 3600 * 1000;
export const APP_LOG_AGE_MS_DEFAULT = DAY_MS;
export const ALERT_LOG_AGE_MS_DEFAULT = 30 * DAY_MS;
export const AUDIT_LOG_AGE_MS_DEFAULT = 365 * DAY_MS;
/**
 * Topics of a log of which each segment says what was last: some 40 bytes each, 160 at most. Of further ones, those
 * without a batch for longest, a loss may be told that they have not had.
 */
export const DOCUMENT_TOPICS_NOTED_MAX = 512;
/** Decoded batches at the end of each log, for those who follow it. */
export const DOCUMENT_CACHE_BYTES_MAX = 4 * MiB;
/** Batches that are read backwards at first where the last N are wanted; further back it is four times as many each time. */
export const DOCUMENTS_BACK_BATCHES = 256;
/** Events of one delivered batch, in bytes: small enough for the message of any client. */
export const DOCUMENT_BATCH_BYTES_MAX = 256 * KiB;
/** Shares of the audit log that refusals may fill: within its age, and at once. Anybody can cause them. */
export const AUDIT_REFUSED_SHARE = 0.25;
export const AUDIT_REFUSED_BURST_SHARE = 1 / 16;
/** The name of a publisher where nodes have theirs: every cursor may hold one. */
export const PUBLISHER_NAME_BYTES_MAX = 128;

/** In a cluster. What compressed batches come to, at most: JSON of 1 MiB takes up to 5.5 times as much. */
export const DOCUMENT_MESSAGE_BYTES_MAX = 8 * MiB;
/** Parts of a stream's bound in bytes, or age, after which a checkpoint is written: as much less it reaches back. */
export const DOCUMENT_CHECKPOINTS = 16;
/** A second message with the same content is recognised within so many: it follows within seconds. */
export const DOCUMENT_MESSAGE_IDS_MAX = 16_384;
/** What each checkpoint repeats: documents that readers pass over, and stretches with times of their own. Beyond, the oldest go. */
export const DOCUMENTS_REPEATED_MAX = 16_384;
export const DOCUMENTS_LATE_MAX = 1_024;
