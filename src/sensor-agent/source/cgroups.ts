/**
 * The cgroups of a process: it has one in each hierarchy, of which there is one alone (v2), or one for some controllers
 * each (v1), or both. One of them is told: the one that names a container, else v2's, else the longest.
 */
import { cut } from './process-text.js';

/** Paths other than `/`, each with the hierarchies that have it; v2's is number 0. */
export type CgroupPaths = readonly (readonly [path: string, ...hierarchies: number[]])[];

export interface Cgroup {
  readonly cgroup: string;
  readonly containerId: string | undefined;
  /** Undefined where `cgroup` says all: it is v2's, and there is no other. */
  readonly cgroups: CgroupPaths | undefined;
}

/** The same, where it may not be known. */
export type KnownCgroup = { readonly [Part in keyof Cgroup]?: Cgroup[Part] | undefined };

const UNIFIED = 0;
const ROOT = '/';

/** What the kernel writes behind the path of one that was removed. */
const DELETED = / \(deleted\)$/;

/** `/proc/PID/cgroup`: lines of `hierarchy:controllers:path`. Undefined where there is none. */
export function cgroupOf(text: string): Cgroup | undefined {
  const found = [...text.matchAll(/^(\d+):[^:\n]*:(.+)$/gm)];
  if (found.length === 0) return undefined;
  return told(found.map(([, hierarchy, path]) => [Number(hierarchy), cut(path!.replace(DELETED, ''))] as const));
}

/** What is told once a process was moved within a hierarchy. */
export function cgroupMoved(before: KnownCgroup, hierarchy: number, path: string): Cgroup {
  const others = pathsOf(before).flatMap(([other, ...hierarchies]) =>
    hierarchies.filter((one) => one !== hierarchy).map((one) => [one, other] as const),
  );
  return told([...others, [hierarchy, cut(path)]]);
}

/** What is left where the place in v2's hierarchy is not known. Undefined: nothing. */
export function withoutUnified(before: KnownCgroup): Cgroup | undefined {
  const left = cgroupMoved(before, UNIFIED, ROOT);
  return left.cgroup === ROOT ? undefined : left;
}

function pathsOf({ cgroup = ROOT, cgroups }: KnownCgroup): CgroupPaths {
  return cgroups ?? (cgroup === ROOT ? [] : [[cgroup, UNIFIED]]);
}

function told(all: readonly (readonly [hierarchy: number, path: string])[]): Cgroup {
  // Where both versions are mounted, a runtime may use either; the other has the service that started it.
  const named = all.filter(([, path]) => path !== ROOT).sort(([a], [b]) => b - a);
  const ofUnified = named.find(([hierarchy]) => hierarchy === UNIFIED)?.[1];
  const contained = [ofUnified ?? ROOT, ...named.map(([, path]) => path)].find(
    (path) => containerId(path) !== undefined,
  );
  const longest = named.reduce((best, [, path]) => (path.length > best.length ? path : best), ROOT);
  const cgroup = contained ?? ofUnified ?? longest;
  const paths = new Map<string, [string, ...number[]]>();
  for (const [hierarchy, path] of named) {
    const known = paths.get(path);
    if (known) known.push(hierarchy);
    else paths.set(path, [path, hierarchy]);
  }
  const isAll = named.every(([hierarchy]) => hierarchy === UNIFIED);
  return { cgroup, containerId: containerId(cgroup), cgroups: isAll ? undefined : [...paths.values()] };
}

/**
 * The container in a cgroup path, as its runtime wrote it there; the last, where they are nested. Not what watches a
 * container from outside: conmon, monitors, services named by it, as health checks.
 */
export function containerId(cgroup: string): string | undefined {
  const segments = cgroup.split('/');
  for (let at = segments.length - 1; at > 0; at -= 1) {
    const id = idOf(segments[at]!, segments[at - 1]!, segments[at + 1]);
    if (id !== undefined) return id;
  }
  return undefined;
}

/** docker, containerd, cri-o, podman, Kubernetes: `docker-ID.scope`, `/kubepods/.../ID`. Of a pod, conmon and units not. */
const HEX = /(?<![0-9a-f])(conmon-|pod_)?([0-9a-f]{64})(?![0-9a-f])/;
const UNIT = /\.(service|slice|mount|socket|swap)$/;
/** A task of ECS, below one with its first part. */
const ECS = /^[0-9a-f]{32}-\d{1,20}$/;
const GARDEN = /^(?:garden-)?([0-9a-f]{8}(?:-[0-9a-f]{4}){4})$/;
const BUILDKIT = /^(?:buildkit-)?([0-9a-z]{25})(?:\.scope)?$/;
const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const NOMAD = new RegExp(`^(${UUID}\\..+)\\.scope$`);
const BY_UUID = new RegExp(`^${UUID}$`);
const LXC = /^lxc\.payload\.(.+)$/;
/** Machines of systemd-nspawn; those of qemu are virtual. */
const MACHINE = /^(?:systemd-nspawn@(.+)\.service|machine-(?!qemu\\x2d)(.+)\.scope)$/;

function idOf(segment: string, above: string, below: string | undefined): string | undefined {
  const hex = HEX.exec(segment);
  if (hex) return hex[1] === undefined && !UNIT.test(segment) ? hex[2] : undefined;
  if (ECS.test(segment)) return segment.startsWith(`${above}-`) ? segment : undefined;
  if (above === 'lxc' || above === 'lxc.payload') return segment;
  if ((above === 'nomad' || above === 'mesos') && BY_UUID.test(segment)) return segment;
  if (above === 'buildkit' || segment.startsWith('buildkit-')) return BUILDKIT.exec(segment)?.[1];
  const machine = below === 'supervisor' ? null : MACHINE.exec(segment);
  if (machine) return (machine[1] ?? machine[2])!.replaceAll('\\x2d', '-');
  return (LXC.exec(segment) ?? GARDEN.exec(segment) ?? NOMAD.exec(segment))?.[1];
}
