/**
 * Checks an unpacked record's fields before they are used. The checksum was
 * right, but another version or another program may have written the record.
 */
import { BackplaneError } from '../../errors.js';

/** The required type of a value, or the shapes of an object's required fields. */
export type RecordShape =
  | 'number'
  | 'bigint'
  | 'string'
  | 'boolean'
  | 'object'
  | 'list'
  | { readonly [field: string]: RecordShape };

const POSITION: RecordShape = { epoch: 'number', timeNs: 'bigint', lane: 'number', tie: 'number' };

export const EXEC_SHAPE: RecordShape = { lane: 'number', timeNs: 'bigint', pid: 'number', missed: 'boolean' };
export const NOTICE_SHAPE: RecordShape = { type: 'string', timeNs: 'bigint', tie: 'number', notice: 'object' };
export const SNAPSHOT_SHAPE: RecordShape = { processes: 'list' };
export const PATHS_SHAPE: RecordShape = { paths: 'list' };
export const QUERIES_SHAPE: RecordShape = { queries: 'list' };
export const SWITCH_SHAPE: RecordShape = { types: 'list', timeNs: 'bigint' };
export const CONTAINERS_SHAPE: RecordShape = { asked: 'boolean', containers: 'list', gone: 'list' };
export const HOLE_SHAPE: RecordShape = { from: POSITION, to: POSITION, lost: 'number', lostUnknown: 'boolean' };
export const LOSS_SHAPE: RecordShape = {
  reason: 'string',
  from: POSITION,
  timeNs: 'bigint',
  goesOn: 'boolean',
  message: 'string',
};
export const ORIGIN_SHAPE: RecordShape = {
  epoch: 'number',
  continued: 'boolean',
  bootId: 'string',
  source: 'string',
  formats: 'object',
  selfPids: 'list',
};
export const CHECKPOINT_SHAPE: RecordShape = {
  part: 'number',
  parts: 'number',
  processes: { processes: 'list', tasks: 'list', exited: 'list' },
  sockets: { owners: 'list', listeners: 'list' },
  execs: 'list',
};
const CLOCK: RecordShape = { bootNs: 'bigint', wallNs: 'bigint' };
export const CLOCK_BEFORE_SHAPE: RecordShape = { clock: CLOCK, floorWallNs: 'bigint', untilNs: 'bigint' };
export const CHECKPOINT_HEAD_SHAPE: RecordShape = {
  origin: ORIGIN_SHAPE,
  position: POSITION,
  wallNs: 'bigint',
  floorWallNs: 'bigint',
  toldNs: 'bigint',
  clock: CLOCK,
  resumeOrdinal: 'number',
};

/** Throws `damaged`, naming the field. */
export function checkShape(value: unknown, shape: RecordShape, path = 'record'): void {
  if (typeof shape === 'string') {
    const fits = shape === 'list' ? Array.isArray(value) : typeof value === shape && value !== null;
    if (!fits) throw new BackplaneError('damaged', `${path} must be a ${shape}`);
    return;
  }
  checkShape(value, 'object', path);
  const object = value as Record<string, unknown>;
  for (const field in shape) checkShape(object[field], shape[field]!, `${path}.${field}`);
}
