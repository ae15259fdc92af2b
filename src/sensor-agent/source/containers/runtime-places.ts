/** Where container runtimes are, most by a socket, and which of them are there. */
import { accessSync, constants, statSync } from 'node:fs';
import type { KubeletFiles } from './kubelet-runtime.js';
import type { Runtime } from './runtime.js';

export interface RuntimePlace {
  /** Of the filesystem; a kubelet's address. */
  readonly socket: string;
  readonly kind: 'cri' | 'docker' | 'kubelet';
  /** For a kubelet. */
  readonly files: KubeletFiles;
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

/** `given`: the setting agent.containers, sockets and kubelets as a user names them, `auto` (the usual sockets) or `off`. */
export function runtimePlaces(given: readonly string[], files: KubeletFiles): readonly RuntimePlace[] {
  if (given.includes('off')) return [];
  const sockets = given.includes('auto') ? USUAL : given.map((text) => text.replace(/^unix:(\/\/)?/, ''));
  return sockets.map((socket) => ({ socket, kind: kindOf(socket), files }));
}

function kindOf(socket: string): RuntimePlace['kind'] {
  if (/^https?:/.test(socket)) return 'kubelet';
  return /\bdocker\.sock$/.test(socket) ? 'docker' : 'cri';
}

/** A socket that is there: another `version` is another runtime, or the same that was started again. */
export interface FoundSocket {
  readonly path: string;
  readonly version: string;
}

/** Undefined where there is none, or none that this process may use. Of an address only a question can say. */
export function findSocket({ socket, kind }: RuntimePlace): FoundSocket | undefined {
  if (kind === 'kubelet') return { path: socket, version: '' };
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
export async function openRuntime({ kind, files }: RuntimePlace, path: string): Promise<Runtime> {
  if (kind === 'kubelet') return new (await import('./kubelet-runtime.js')).KubeletRuntime(path, files);
  if (kind === 'docker') return new (await import('./docker-runtime.js')).DockerRuntime(path);
  return new (await import('./cri-runtime.js')).CriRuntime(path);
}
