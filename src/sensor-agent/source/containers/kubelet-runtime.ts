/**
 * Asks a kubelet for its pods (`GET /pods`), where no runtime's socket may be read: by HTTPS with a token, or by HTTP on its
 * read-only port, without one. It knows a container about a second after it began, and nothing of a pod's own process.
 */
import { readFileSync } from 'node:fs';
import { request as requestPlain } from 'node:http';
import { request } from 'node:https';
import * as z from 'zod';
import { within } from '../../../flow/within.js';
import {
  CONTAINER_ANSWER_MS_MAX,
  CONTAINERS_MAX,
  KUBELET_PAUSE_MS,
  RUNTIME_ANSWER_BYTES_MAX,
} from '../../../limits/containers.js';
import { answeredText } from '../../../text/answered-text.js';
import type { RecordedContainer } from '../../recorder/recording.js';
import { isImageId, type Runtime, recordedContainer } from './runtime.js';

/** Read for each question, as both are replaced now and then. */
export interface KubeletFiles {
  readonly token: string;
  /** CA of its certificate, or the certificate itself where it signed that. */
  readonly ca: string;
}

const statuses = z
  .array(
    z.object({
      name: z.string(),
      image: z.string().optional(),
      imageID: z.string().optional(),
      /** `containerd://ID`; absent before it was made. */
      containerID: z.string().optional(),
      state: z.object({ terminated: z.unknown().optional() }).nullish(),
    }),
  )
  .nullish();
const podList = z.object({
  items: z
    .array(
      z.object({
        metadata: z.object({ name: z.string(), uid: z.string(), namespace: z.string() }),
        status: z
          .object({
            containerStatuses: statuses,
            initContainerStatuses: statuses,
            ephemeralContainerStatuses: statuses,
          })
          .nullish(),
      }),
    )
    .nullish(),
});
type Pod = NonNullable<z.infer<typeof podList>['items']>[number];

interface Known {
  readonly recorded: RecordedContainer;
  readonly ended: boolean;
}

export class KubeletRuntime implements Runtime {
  readonly #closed = new AbortController();
  /** Of the last question. */
  #asked: { readonly ms: number; readonly answer: Promise<readonly Known[]> } | undefined;

  readonly #address: string;
  readonly #files: KubeletFiles;

  /** `address`: like https://10.0.0.7:10250 */
  constructor(address: string, files: KubeletFiles) {
    this.#address = address;
    this.#files = files;
  }

  async list(): Promise<readonly RecordedContainer[]> {
    return (await this.#pods()).flatMap(({ recorded, ended }) => (ended ? [] : [recorded]));
  }

  async find(ids: readonly string[]): Promise<readonly RecordedContainer[]> {
    return (await this.#pods()).flatMap(({ recorded }) => (ids.includes(recorded.id) ? [recorded] : []));
  }

  close(): void {
    this.#closed.abort();
  }

  /** It has no other question than for all pods: one that was answered just now is not asked again. */
  #pods(): Promise<readonly Known[]> {
    const nowMs = performance.now();
    if (this.#asked === undefined || nowMs - this.#asked.ms >= KUBELET_PAUSE_MS)
      this.#asked = { ms: nowMs, answer: this.#get() };
    return this.#asked.answer;
  }

  async #get(): Promise<readonly Known[]> {
    const text = await within(CONTAINER_ANSWER_MS_MAX, this.#closed.signal, (signal) => this.#read(signal));
    const { items } = podList.parse(JSON.parse(text));
    return (items ?? []).flatMap(containersOf).slice(0, CONTAINERS_MAX);
  }

  async #read(signal: AbortSignal): Promise<string> {
    const url = new URL('/pods', this.#address);
    const common = { headers: { accept: 'application/json' }, agent: false, signal } as const;
    if (url.protocol === 'http:') return answeredText(requestPlain(url, common), RUNTIME_ANSWER_BYTES_MAX);
    const ca = readFileSync(this.#files.ca);
    const authorization = `Bearer ${readFileSync(this.#files.token, 'utf8').trim()}`;
    const headers = { ...common.headers, authorization };
    return answeredText(request(url, { ...common, headers, ca }), RUNTIME_ANSWER_BYTES_MAX);
  }
}

function containersOf({ metadata, status }: Pod): Known[] {
  const { containerStatuses, initContainerStatuses, ephemeralContainerStatuses } = status ?? {};
  const all = [initContainerStatuses, containerStatuses, ephemeralContainerStatuses].flatMap((some) => some ?? []);
  return all.flatMap(({ name, image = '', imageID, containerID, state }) => {
    if (!containerID) return [];
    const recorded = recordedContainer(containerID.replace(/^[^/]*:\/\//, ''), {
      name,
      image: isImageId(image) ? (imageID ?? image) : image,
      ...{ pod: metadata.name, podUid: metadata.uid, namespace: metadata.namespace },
    });
    return { recorded, ended: state?.terminated != null };
  });
}
