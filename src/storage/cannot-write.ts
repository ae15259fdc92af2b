/** Why a directory cannot be written to. A full disk is told apart, because it may have room later: trying again helps. */
import { BackplaneError } from '../errors.js';
import { systemErrorCode } from './file-ops.js';

const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT']);

/** Whether an error of the file system, or one that cannotWrite() made of it, says that there is no room. */
export function isDiskFull(cause: unknown): boolean {
  return FULL.has(cause instanceof BackplaneError ? cause.details.system : systemErrorCode(cause));
}

/** `resource_exhausted` where the disk is full, else `failed_precondition`. */
export function cannotWrite(dir: string, cause: unknown): BackplaneError {
  const system = systemErrorCode(cause);
  if (!isDiskFull(cause))
    return new BackplaneError('failed_precondition', `cannot write to ${dir}: ${system ?? cause}`);
  return new BackplaneError('resource_exhausted', `no space in ${dir} (${system}): free some, or move the data`, {
    system,
  });
}
