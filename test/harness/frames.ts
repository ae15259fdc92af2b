/** Frames made by hand for tests: sound, and without events, losses and matches unless a test says otherwise. */
import type { Frame } from '../../src/wire/frame/frame.js';
import type { Position } from '../../src/wire/position.js';

export function frameOver(coveredFrom: Position, coveredTo: Position, change: Partial<Frame> = {}): Frame {
  return {
    topic: 'process',
    coveredFrom,
    coveredTo,
    count: 0,
    eventSizes: [],
    matches: [],
    shed: [],
    lost: 0,
    lostUnknown: false,
    losses: [],
    refused: false,
    continues: false,
    namedFields: false,
    late: 0,
    watermarkNs: 0n,
    timesNs: new BigUint64Array(0),
    lanes: [],
    ties: [],
    events: Buffer.alloc(0),
    ...change,
  };
}
