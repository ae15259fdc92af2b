/** Bounds of what a broker takes in from all agents together. */
import { KiB, MiB } from './units.js';

/**
 * Messages of agents that a broker has begun to take in and their partition's log has not taken yet, in bytes. Others wait
 * undecoded, and their streams are not read. Each is counted with what decoding it takes, however small it is.
 */
export const INTAKE_BYTES_MAX = 16 * MiB;
export const INTAKE_MESSAGE_BYTES = 8 * KiB;
/**
 * The least share of a broker's time that taking in gets before what is ready else has its turn: syncs, deliveries. With
 * TURN_MS as its turn it has as much as each reader that always has something to read; where many have, this.
 */
export const INTAKE_SHARE_MIN = 0.25;
/** From the begin of a turn to that of the next: messages that come sooner gather. Less than anybody sees of a linger. */
export const INTAKE_GATHER_MS = 5;
/**
 * How often it is looked whether nodes send more messages than a broker takes in and delivers, and not before they have
 * gathered once as they were told. That some messages wait is no sign: a broker that did not have the processor for a moment
 * finds those of that moment. There are too many if they take as long as this on average until they are in the log, or half
 * as long as they are gathered, as each node then has one that waits when it sends the next; or if the broker always has
 * something to do, and taking in and delivering so many a second is a tenth of a core of it. Nodes then gather for twice as
 * long, and less again where it takes no quarter of that and the broker has some rest; but what was too little last only after
 * a while, as each try costs subscribers seconds. Messages that are longer on average are full frames, which gathering does not
 * make fewer.
 */
export const INTAKE_REVIEW_SECONDS = 2;
export const INTAKE_BEHIND_MS = 250;
export const INTAKE_BEHIND_SHARE = 0.5;
export const INTAKE_FREE_SHARE = 0.25;
export const INTAKE_BUSY_SHARE = 0.95;
export const INTAKE_RESTED_SHARE = 0.7;
export const INTAKE_BUSY_MESSAGES_PER_SECOND = 500;
export const INTAKE_BEHIND_FACTOR = 2;
export const INTAKE_FREE_FACTOR = 0.7;
export const INTAKE_AGAIN_SECONDS = 300;
export const INTAKE_SMALL_BYTES = 16 * KiB;
