/** Where the sockets of container runtimes are, and which of them are there. */
import { accessSync, constants, statSync } from 'node:fs';
import type { Runtime } from './runtime.js';

export interface RuntimePlace {
  /** Of the filesystem. */
  readonly socket: string;
  readonly kind: 'cri' | 'docker';
}

/** As their packages, and distributions of Kubernetes, have them. */
const USUAL = [
  '/run/containerd/containerd.sock',
  '/run/crio/crio.sock',
  '/run/k3s/containerd/containerd.sock',
  '/run/k0s/containerd.sock',
  '/var/snap/microk8s/common/run/containerd.sock',
  '/run/cri-dockerd.sock',
  '/run/docker.sock',
];
/** The machine's, and where the agent is in a container that shares the machine's processes. */
const ROOTS = ['', '/proc/1/root'];

/** `given`: the setting agent.containers, sockets as a user names them, `auto` (those of the usual places) or `off`. */
export function runtimePlaces(given: readonly string[]): readonly RuntimePlace[] {
  if (given.includes('off')) return [];
  const sockets = given.includes('auto') ? USUAL : given.map((text) => text.replace(/^unix:(\/\/)?/, ''));
  return sockets.map((socket) => ({ socket, kind: /\bdocker\.sock$/.test(socket) ? 'docker' : 'cri' }));
}

/** A socket that is there: another `version` is another runtime, or the same that was started again. */
export interface FoundSocket {
  readonly path: string;
  readonly version: string;
}

/** Undefined where there is none, or none that this process may use. */
export function findSocket({ socket }: RuntimePlace): FoundSocket | undefined {
  for (const root of ROOTS) {
    const path = root + socket;
    try {
      // Most are not there, and an error is costly to make.
      const found = statSync(path, { throwIfNoEntry: false });
      if (found === undefined) continue;
      accessSync(path, constants.R_OK | constants.W_OK);
      return { path, version: `${found.ino} ${found.ctimeMs}` };
    } catch {
      // It may be below the other.
    }
  }
  return undefined;
}

/** Loaded when one is there: most machines have none. */
export async function openRuntime({ kind }: RuntimePlace, path: string): Promise<Runtime> {
  if (kind === 'docker') return new (await import('./docker-runtime.js')).DockerRuntime(path);
  return new (await import('./cri-runtime.js')).CriRuntime(path);
}
