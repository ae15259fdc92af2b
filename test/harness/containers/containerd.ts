/**
 * Debian's containerd, with directories and a socket of its own, and pods made as a kubelet makes them: over the
 * Container Runtime Interface. They share the host's network, as there is no plugin for another; their image is made by
 * hand of busybox.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { needs } from '../tools.js';
import { until } from '../until.js';

export const IMAGE = 'localhost/backplane/busybox:test';
const PROTO = fileURLToPath(new URL('../../../../test/harness/containers/cri.proto', import.meta.url));

/** Why containers cannot be made here, or false. */
export function cannotRunPods(): string | false {
  if (process.getuid?.() !== 0) return 'needs root, to run containerd';
  return needs(
    'command -v containerd && command -v ctr && command -v runc && busybox --list | grep -q sleep',
    ...['containerd', 'runc', 'busybox-static'],
  );
}

export interface Pod {
  readonly id: string;
  readonly config: object;
}

type Call = (request: object) => Promise<Record<string, string>>;

export class Containerd {
  readonly socket: string;
  /** For what belongs to it. */
  readonly dir: string;
  readonly #process: ChildProcess;
  #client: Client | undefined;
  #said = '';
  #made = 0;
  readonly #pods = new Set<string>();

  static async start(): Promise<Containerd> {
    const runtime = new Containerd();
    await until(
      'that containerd answers',
      () => runtime.#answers(),
      () => runtime.#said,
    );
    runtime.#import();
    return runtime;
  }

  private constructor() {
    // Short, as the path of a socket has at most 107 bytes; on a filesystem that overlays may lie on.
    this.dir = mkdtempSync(join(tmpdir(), 'bp-cri-'));
    spawnSync('mount', ['-t', 'tmpfs', 'backplane-containerd', this.dir]);
    this.socket = join(this.dir, 'c.sock');
    const config = join(this.dir, 'config.toml');
    writeFileSync(config, configText(this.dir, this.socket));
    this.#process = spawn('containerd', ['--config', config, '--log-level', 'warn'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
  }

  async runPod(name: string, namespace: string): Promise<Pod> {
    this.#made += 1;
    const config = {
      metadata: { name, uid: `uid-${process.pid}-${this.#made}`, namespace, attempt: 0 },
      logDirectory: this.dir,
      linux: { securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' } } },
    };
    const { podSandboxId: id = '' } = await this.#call('RunPodSandbox', { config });
    this.#pods.add(id);
    return { id, config };
  }

  /** Starts a container that runs the command; returns its id. */
  async run(pod: Pod, name: string, command: readonly string[]): Promise<string> {
    this.#made += 1;
    const linux = { securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' } } };
    const config = { metadata: { name, attempt: this.#made }, image: { image: IMAGE }, command, linux };
    const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
    const { containerId = '' } = await this.#call('CreateContainer', request);
    await this.#call('StartContainer', { containerId });
    return containerId;
  }

  async removeContainer(containerId: string): Promise<void> {
    await this.#call('RemoveContainer', { containerId });
  }

  async removePod(podSandboxId: string): Promise<void> {
    await this.#call('StopPodSandbox', { podSandboxId });
    await this.#call('RemovePodSandbox', { podSandboxId });
    this.#pods.delete(podSandboxId);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#pods].map((pod) => this.removePod(pod).catch(() => undefined)));
    this.#client?.close();
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    if (this.#process.exitCode === null) await exited;
    spawnSync('umount', ['-l', this.dir]);
    rmSync(this.dir, { recursive: true, force: true });
  }

  #call(method: string, request: object): Promise<Record<string, string>> {
    this.#client ??= new (criClient())(`unix:${this.socket}`, credentials.createInsecure());
    const client = this.#client as unknown as Record<string, Parameters<typeof promisify>[0]>;
    return (promisify(client[method]!.bind(client)) as Call)(request);
  }

  async #answers(): Promise<boolean> {
    if (this.#process.exitCode !== null) throw new Error(`containerd ended: ${this.#said}`);
    try {
      return (await this.#call('Version', {}))['runtimeName'] === 'containerd';
    } catch {
      return false;
    }
  }

  /** An image of busybox and nothing else, in the form of `docker save`. */
  #import(): void {
    const root = join(this.dir, 'image');
    mkdirSync(join(root, 'fs/bin'), { recursive: true });
    const busybox = spawnSync('sh', ['-c', 'readlink -f "$(command -v busybox)"']).stdout.toString().trim();
    copyFileSync(busybox, join(root, 'fs/bin/busybox'));
    chmodSync(join(root, 'fs/bin/busybox'), 0o755);
    for (const path of ['fs/proc', 'fs/sys', 'fs/dev', 'fs/etc', 'fs/tmp']) mkdirSync(join(root, path));
    this.#must('tar', ['-C', join(root, 'fs'), '-cf', join(root, 'layer.tar'), '.']);
    const digest = spawnSync('sha256sum', [join(root, 'layer.tar')])
      .stdout.toString()
      .slice(0, 64);
    const config = {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: { Entrypoint: ['/bin/busybox', 'sleep', '1000000'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
      history: [{ created: '2026-01-01T00:00:00Z' }],
    };
    writeFileSync(join(root, 'config.json'), JSON.stringify(config));
    const manifest = [{ Config: 'config.json', RepoTags: [IMAGE], Layers: ['layer.tar'] }];
    writeFileSync(join(root, 'manifest.json'), JSON.stringify(manifest));
    const image = join(this.dir, 'image.tar');
    this.#must('tar', ['-C', root, '-cf', image, 'manifest.json', 'config.json', 'layer.tar']);
    this.#must('ctr', ['-a', this.socket, '-n', 'k8s.io', 'images', 'import', image]);
  }

  #must(command: string, args: readonly string[]): void {
    const { status, stderr } = spawnSync(command, args);
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}; containerd: ${this.#said}`);
  }
}

function criClient(): ServiceClientConstructor {
  const loaded = loadPackageDefinition(loadSync(PROTO, { enums: String, defaults: true }));
  return (loaded as unknown as { runtime: { v1: { RuntimeService: ServiceClientConstructor } } }).runtime.v1
    .RuntimeService;
}

function configText(dir: string, socket: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  const snapshotters = ['aufs', 'btrfs', 'devmapper', 'zfs'].map((name) => `"io.containerd.snapshotter.v1.${name}"`);
  return `version = 2
root = "${dir}/root"
state = "${dir}/state"
disabled_plugins = [${snapshotters.join(', ')}]
[grpc]
address = "${socket}"
[ttrpc]
address = "${socket}.ttrpc"
[${cri}]
sandbox_image = "${IMAGE}"
restrict_oom_score_adj = true
enable_selinux = false
[${cri}.containerd]
snapshotter = "${overlays() ? 'overlayfs' : 'native'}"
[${cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[${cri}.cni]
bin_dir = "${dir}/cni"
conf_dir = "${dir}/cni"
`;
}

function overlays(): boolean {
  return /\toverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'));
}
