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
 * TURN_MS_MAX as its turn it has as much as each reader that always has something to read; where many have, this.
 */
export const INTAKE_SHARE_MIN = 0.25;
/**
 * How often it is looked whether nodes send more messages than a broker takes in: it does if half of them had to wait, and
 * does not any more if a tenth had. Nodes then gather for twice as long, and less again by a fifth. Messages that are longer
 * on average are full frames, which gathering does not make fewer.
 */
export const INTAKE_REVIEW_SECONDS = 2;
export const INTAKE_BEHIND_SHARE = 0.5;
export const INTAKE_FREE_SHARE = 0.1;
export const INTAKE_BEHIND_FACTOR = 2;
export const INTAKE_FREE_FACTOR = 0.8;
export const INTAKE_SMALL_BYTES = 16 * KiB;
