/**
 * Finds tracefs, and mounts it where it is missing: all other tracefs code
 * needs it. Mounting needs root; finding it does not.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { BackplaneError } from '../../../errors.js';

const MOUNT_POINT = '/sys/kernel/tracing';

export interface Tracefs {
  readonly path: string;
  /** Whether this agent mounted it just now. */
  readonly mounted: boolean;
}

/** Finds tracefs or mounts it; throws `failed_precondition` with what to do. */
export function openTracefs(): Tracefs {
  if (endianness() !== 'LE') {
    throw new BackplaneError('failed_precondition', 'the tracefs source reads little-endian kernels only');
  }
  const found = findTracefs();
  if (found !== undefined) return { path: writable(found), mounted: false };
  if (!existsSync(MOUNT_POINT)) {
    throw new BackplaneError('failed_precondition', `${MOUNT_POINT} must exist: this kernel has no tracefs`);
  }
  const result = spawnSync('mount', ['-t', 'tracefs', 'tracefs', MOUNT_POINT], { encoding: 'utf8', timeout: 5000 });
  if (result.status === 0) return { path: writable(MOUNT_POINT), mounted: true };
  const cause = mountFailure(result.error?.message ?? result.stderr);
  throw new BackplaneError(
    'failed_precondition',
    `tracefs must be mounted on ${MOUNT_POINT}, and mounting failed: ${cause}`,
  );
}

/** The first line of what `mount` printed, without a full stop: it stands within a sentence. */
export function mountFailure(printed: string): string {
  return printed.trim().split('\n')[0]!.replace(/\.$/, '');
}

/** A mounted tracefs, or undefined. */
export function findTracefs(): string | undefined {
  for (const line of mounts()) {
    const [, path, type] = line.split(' ');
    if (type !== 'tracefs' || path === undefined) continue;
    const plain = path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    if (existsSync(join(plain, 'instances'))) return plain;
  }
  // Used when /proc shows no mounts. debugfs mounts tracefs at the second path when somebody looks there.
  return [MOUNT_POINT, '/sys/kernel/debug/tracing'].find((path) => existsSync(join(path, 'instances')));
}

/** Lines of the mount table in /proc; none where /proc is not mounted. */
function mounts(): string[] {
  try {
    return readFileSync('/proc/self/mounts', 'utf8').split('\n');
  } catch {
    return [];
  }
}

function writable(path: string): string {
  try {
    accessSync(join(path, 'instances'), constants.W_OK | constants.X_OK);
    return path;
  } catch {
    throw new BackplaneError(
      'failed_precondition',
      `${path}/instances must be writable: run as root, or mount it writable`,
    );
  }
}
