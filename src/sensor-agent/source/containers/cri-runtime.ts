/**
 * Asks a runtime that kubelets use (containerd, CRI-O, cri-dockerd) by the Container Runtime Interface: gRPC on a socket
 * of the machine. Events of containers are not asked for, as containerd has them from 1.7 on only.
 */
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { LRUCache } from 'lru-cache';
import {
  CONTAINER_ANSWER_MS_MAX,
  CONTAINERS_ASKED_SINGLY_MAX,
  IMAGE_NAMES_MAX,
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

const SERVICE = '/runtime.v1.RuntimeService/';
const same = (bytes: Buffer) => bytes;

export class CriRuntime implements Runtime {
  readonly #client: Client;
  /** By the image's id: a runtime is asked once for each. */
  readonly #imageNames = new LRUCache<string, string>({ max: IMAGE_NAMES_MAX });

  /** Connects when it is first asked, and again when the runtime was away. */
  constructor(socket: string) {
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
    const byId = new Map(pods.map((pod) => [pod.id, pod]));
    const named: RecordedContainer[] = pods.map(ofPod);
    const living = containers.filter(({ ended }) => !ended);
    for (let at = 0; at < living.length; at += CONTAINERS_ASKED_SINGLY_MAX) {
      const some = living.slice(at, at + CONTAINERS_ASKED_SINGLY_MAX);
      named.push(...(await Promise.all(some.map((each) => this.#named(each, byId.get(each.podId))))));
    }
    return named;
  }

  async find(id: string): Promise<RecordedContainer | undefined> {
    const container = (await this.#containers(id)).find((each) => each.id === id);
    const podId = container?.podId ?? id;
    const pod = (await this.#pods(podId)).find((each) => each.id === podId);
    return container ? this.#named(container, pod) : pod && ofPod(pod);
  }

  close(): void {
    this.#client.close();
  }

  async #containers(id?: string): Promise<CriContainer[]> {
    return readContainers(await this.#call('ListContainers', listRequest(id)));
  }

  async #pods(id?: string): Promise<CriPod[]> {
    return readPods(await this.#call('ListPodSandbox', listRequest(id)));
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

  #call(method: string, request: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + CONTAINER_ANSWER_MS_MAX };
      const done = (cause: ServiceError | null, answer?: Buffer) => {
        if (cause === null) resolve(answer ?? Buffer.alloc(0));
        else if (cause.code === status.UNIMPLEMENTED) reject(new NoSuchService('it has no CRI (runtime.v1)'));
        else reject(cause);
      };
      this.#client.makeUnaryRequest(SERVICE + method, same, same, request, new Metadata(), options, done);
    });
  }
}

function ofPod({ id, name, uid, namespace }: CriPod): RecordedContainer {
  return recordedContainer(id, { pod: name, podUid: uid, namespace });
}
