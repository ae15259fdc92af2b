/**
 * Asks a runtime that kubelets use (containerd, CRI-O, cri-dockerd) by the Container Runtime Interface: gRPC on a socket
 * of the machine. Events of containers are not asked for, as containerd has them from 1.7 on only, and the kernel tells
 * of a new container's cgroup before its first program runs.
 */
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { LRUCache } from 'lru-cache';
import {
  CONTAINER_ANSWER_MS_MAX,
  IMAGE_NAMES_MAX,
  IMAGES_ASKED_AT_ONCE_MAX,
  PODS_SEEN_CHARACTERS_MAX,
  PODS_SEEN_MAX,
  RUNTIME_ANSWER_BYTES_MAX,
} from '../../../limits/containers.js';
import type { RecordedContainer } from '../../recorder/recording.js';
import {
  type CriContainer,
  type CriPod,
  listRequest,
  readContainers,
  readImage,
  readPods,
  statusRequest,
} from './cri-messages.js';
import { isImageId, NoSuchService, type Runtime, recordedContainer } from './runtime.js';

/** The later first. Before containerd 1.6 and CRI-O 1.20 there was the other alone; its messages are the same. */
const CRI_VERSIONS: readonly string[] = ['v1', 'v1alpha2'];
const same = (bytes: Buffer) => bytes;

export class CriRuntime implements Runtime {
  readonly #client: Client;
  /** By the image's id: a runtime is asked once for each. */
  readonly #imageNames = new LRUCache<string, string>({ max: IMAGE_NAMES_MAX });
  /** By id: what a pod is called never changes, and most containers that come up have their pod with them. */
  readonly #podsSeen = new LRUCache<string, CriPod>({
    max: PODS_SEEN_MAX,
    maxSize: PODS_SEEN_CHARACTERS_MAX,
    sizeCalculation: ({ id, name, uid, namespace }) => id.length + name.length + uid.length + namespace.length + 1,
  });
  /** Of #versions: the first that the runtime has, as far as is known. */
  #version = 0;
  readonly #versions: readonly string[];

  /** Connects when it is first asked, and again when the runtime was away. */
  constructor(socket: string, versions = CRI_VERSIONS) {
    this.#versions = versions;
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': RUNTIME_ANSWER_BYTES_MAX,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': CONTAINER_ANSWER_MS_MAX,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // A proxy is for other machines.
      'grpc.enable_http_proxy': 0,
    });
  }

  async list(): Promise<readonly RecordedContainer[]> {
    const [containers, pods] = await Promise.all([this.#containers(), this.#pods()]);
    const living = containers.filter(({ ended }) => !ended);
    return [...pods.map(ofPod), ...(await this.#allNamed(living, pods))];
  }

  async find(ids: readonly string[]): Promise<readonly RecordedContainer[]> {
    const containers = await this.#containers(ids);
    const found = new Set(containers.map(({ id }) => id));
    // They may be those of pods themselves.
    const others = ids.filter((id) => !found.has(id));
    const pods = await this.#podsOf([...new Set([...others, ...containers.map(({ podId }) => podId)])]);
    return [...pods.filter(({ id }) => others.includes(id)).map(ofPod), ...(await this.#allNamed(containers, pods))];
  }

  close(): void {
    this.#client.close();
  }

  async #containers(ids?: readonly string[]): Promise<CriContainer[]> {
    return readContainers(await this.#list('ListContainers', ids), ids && new Set(ids));
  }

  async #podsOf(ids: readonly string[]): Promise<CriPod[]> {
    const seen = ids.flatMap((id) => this.#podsSeen.get(id) ?? []);
    const others = ids.filter((id) => !this.#podsSeen.has(id));
    return others.length === 0 ? seen : [...seen, ...(await this.#pods(others))];
  }

  async #pods(ids?: readonly string[]): Promise<CriPod[]> {
    const pods = readPods(await this.#list('ListPodSandbox', ids), ids && new Set(ids));
    for (const pod of pods) this.#podsSeen.set(pod.id, pod);
    return pods;
  }

  /** The interface selects one or all; a runtime goes through all of its own in any case. */
  #list(method: string, ids: readonly string[] | undefined): Promise<Buffer> {
    return this.#call(method, listRequest(ids?.length === 1 ? ids[0] : undefined));
  }

  /** Some at a time, as each may take a question for the name of its image. */
  async #allNamed(containers: readonly CriContainer[], pods: readonly CriPod[]): Promise<RecordedContainer[]> {
    const byId = new Map(pods.map((pod) => [pod.id, pod]));
    const named: RecordedContainer[] = [];
    for (let at = 0; at < containers.length; at += IMAGES_ASKED_AT_ONCE_MAX) {
      const some = containers.slice(at, at + IMAGES_ASKED_AT_ONCE_MAX);
      named.push(...(await Promise.all(some.map((each) => this.#named(each, byId.get(each.podId))))));
    }
    return named;
  }

  async #named({ id, name, image }: CriContainer, pod: CriPod | undefined): Promise<RecordedContainer> {
    const named = isImageId(image) ? await this.#imageName(id, image) : image;
    return recordedContainer(id, { name, image: named, pod: pod?.name, podUid: pod?.uid, namespace: pod?.namespace });
  }

  /**
   * Kubelets give runtimes an id; the status of a container of it has the name. Where that is not had, as of a container
   * that has ended meanwhile, the id stays: it must not keep the names of this and of others from being known.
   */
  async #imageName(container: string, image: string): Promise<string> {
    const known = this.#imageNames.get(image);
    if (known !== undefined) return known;
    let name: string;
    try {
      name = readImage(await this.#call('ContainerStatus', statusRequest(container)));
    } catch {
      return image;
    }
    if (name !== '') this.#imageNames.set(image, name);
    return name || image;
  }

  async #call(method: string, request: Buffer): Promise<Buffer> {
    for (;;) {
      const at = this.#version;
      const version = this.#versions[at];
      if (version === undefined) throw new NoSuchService(`it has no CRI (runtime.${this.#versions.join(', ')})`);
      try {
        return await this.#ask(`/runtime.${version}.RuntimeService/${method}`, request);
      } catch (cause) {
        if ((cause as ServiceError).code !== status.UNIMPLEMENTED) throw cause;
        this.#version = Math.max(this.#version, at + 1);
      }
    }
  }

  #ask(path: string, request: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + CONTAINER_ANSWER_MS_MAX };
      const done = (cause: ServiceError | null, answer?: Buffer) =>
        cause === null ? resolve(answer ?? Buffer.alloc(0)) : reject(cause);
      this.#client.makeUnaryRequest(path, same, same, request, new Metadata(), options, done);
    });
  }
}

function ofPod({ id, name, uid, namespace }: CriPod): RecordedContainer {
  return recordedContainer(id, { pod: name, podUid: uid, namespace });
}
