/** The texts of /proc/PID, taken apart. */
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX, EVENT_STRING_BYTES_MAX } from '../../limits.js';

/** `cmdline`: arguments that each end with NUL. As many bytes as were asked for may not be all. */
export function splitArguments(bytes: Buffer): { args: string[]; truncated: boolean } {
  const args: string[] = [];
  let at = 0;
  while (at < bytes.length && args.length < ARGUMENTS_MAX) {
    const nul = bytes.indexOf(0, at);
    const end = nul < 0 ? bytes.length : nul;
    args.push(bytes.toString('utf8', at, end));
    at = end + 1;
  }
  return { args, truncated: at < bytes.length || bytes.length >= ARGUMENTS_BYTES_MAX };
}

export interface Cgroup {
  /** Path in the v2 hierarchy, or the longest of the v1 ones; where only another one names a container, that. */
  readonly path: string;
  readonly containerId: string | undefined;
}

/** `cgroup`: lines of `hierarchy:controllers:path`, the v2 hierarchy's with number 0. */
export function cgroupOf(text: string): Cgroup | undefined {
  let best: string | undefined;
  let unified: string | undefined;
  let contained: Cgroup | undefined;
  for (const line of text.split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    if (path === '') continue;
    const isUnified = line.startsWith('0::');
    if (isUnified && path !== '/') unified = path;
    if (best === undefined || path.length > best.length) best = path;
    const id = containerId(path);
    // Where both versions are mounted, a runtime may use either; the other has the service that started it.
    if (id !== undefined && (contained === undefined || isUnified)) contained = { path: cut(path), containerId: id };
  }
  if (contained) return contained;
  const path = unified ?? best;
  return path === undefined ? undefined : { path: cut(path), containerId: undefined };
}

/**
 * The container in a cgroup path: 64 hex digits, as docker, containerd, cri-o, podman and Kubernetes write them
 * (`docker-ID.scope`, `/kubepods/.../ID`), or what ECS writes for a task of its own (`/ecs/TASK/TASK-DIGITS`); the last,
 * where they are nested. Not what watches a container from outside: conmon, and services named by it, as health checks.
 */
export function containerId(cgroup: string): string | undefined {
  let found: string | undefined;
  let before = '';
  for (const segment of cgroup.split('/')) {
    const id = /(?<![0-9a-f])(conmon-)?([0-9a-f]{64})(?![0-9a-f])/.exec(segment);
    if (id && id[1] === undefined && !segment.endsWith('.service')) found = id[2];
    else if (/^[0-9a-f]{32}-\d{1,20}$/.test(segment) && segment.startsWith(`${before}-`)) found = segment;
    before = segment;
  }
  return found;
}

/** At most EVENT_STRING_BYTES_MAX bytes of UTF-8. */
export function cut(text: string): string {
  if (text.length * 3 <= EVENT_STRING_BYTES_MAX || Buffer.byteLength(text) <= EVENT_STRING_BYTES_MAX) return text;
  const bytes = Buffer.from(text);
  let end = EVENT_STRING_BYTES_MAX;
  // Not within a character: its part would be written as another one, of three bytes.
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
