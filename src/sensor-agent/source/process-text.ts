/** The texts of /proc/PID, taken apart. */
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX, EVENT_STRING_BYTES_MAX } from '../../limits.js';

const DELETED = ' (deleted)';

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

/** `cgroup`: the path in the v2 hierarchy, or the longest of the v1 ones. */
export function cgroupPath(text: string): string | undefined {
  let best: string | undefined;
  for (const line of text.split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    if (path === '') continue;
    if (line.startsWith('0::') && path !== '/') return cut(path);
    if (best === undefined || path.length > best.length) best = path;
  }
  return best === undefined ? undefined : cut(best);
}

/**
 * The container in a cgroup path: the last 64 hex digits, as docker, containerd,
 * cri-o, podman and Kubernetes write them (`docker-ID.scope`, `/kubepods/.../ID`).
 * conmon, which watches a container from outside, is not in it.
 */
export function containerId(cgroup: string): string | undefined {
  let found: string | undefined;
  for (const match of cgroup.matchAll(/(?<![0-9a-f])(conmon-)?([0-9a-f]{64})(?![0-9a-f])/g)) {
    if (match[1] === undefined) found = match[2];
  }
  return found;
}

/** `exe` and `cwd`: where the link leads, without the kernel's mark of what was removed. */
export function cleanLink(target: Buffer): string {
  const path = cut(target.toString());
  return path.endsWith(DELETED) ? path.slice(0, -DELETED.length) : path;
}

/** At most EVENT_STRING_BYTES_MAX bytes of UTF-8. */
function cut(text: string): string {
  if (text.length * 3 <= EVENT_STRING_BYTES_MAX || Buffer.byteLength(text) <= EVENT_STRING_BYTES_MAX) return text;
  return Buffer.from(text).toString('utf8', 0, EVENT_STRING_BYTES_MAX);
}
