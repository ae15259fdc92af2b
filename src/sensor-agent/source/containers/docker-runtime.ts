/** Asks Docker's daemon (or Podman's service, which answers alike) by HTTP on its socket. */
import { request } from 'node:http';
import * as z from 'zod';
import { within } from '../../../flow/within.js';
import { CONTAINER_ANSWER_MS_MAX, CONTAINERS_MAX, RUNTIME_ANSWER_BYTES_MAX } from '../../../limits/containers.js';
import { answeredText } from '../../../text/answered-text.js';
import type { RecordedContainer } from '../../recorder/recording.js';
import { type Runtime, recordedContainer } from './runtime.js';

const listedContainers = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()).nullish(),
    Image: z.string().optional(),
    Labels: z.record(z.string(), z.string()).nullish(),
  }),
);
type Listed = z.infer<typeof listedContainers>[number];

/** Those of pods carry them where a kubelet has Docker as its runtime. */
const LABELS = { name: 'container.name', pod: 'pod.name', podUid: 'pod.uid', namespace: 'pod.namespace' } as const;

export class DockerRuntime implements Runtime {
  readonly #closed = new AbortController();

  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  async list(): Promise<readonly RecordedContainer[]> {
    return (await this.#get('/containers/json')).map(named);
  }

  async find(ids: readonly string[]): Promise<readonly RecordedContainer[]> {
    const filters = encodeURIComponent(JSON.stringify({ id: ids }));
    const found = await this.#get(`/containers/json?all=1&filters=${filters}`);
    return found.filter(({ Id }) => ids.includes(Id)).map(named);
  }

  close(): void {
    this.#closed.abort();
  }

  async #get(path: string): Promise<readonly Listed[]> {
    const text = await within(CONTAINER_ANSWER_MS_MAX, this.#closed.signal, (signal) => this.#read(path, signal));
    return listedContainers.parse(JSON.parse(text)).slice(0, CONTAINERS_MAX);
  }

  #read(path: string, signal: AbortSignal): Promise<string> {
    const asked = request({ socketPath: this.#socket, path, headers: { host: 'docker' }, agent: false, signal });
    return answeredText(asked, RUNTIME_ANSWER_BYTES_MAX);
  }
}

function named({ Id, Names, Image, Labels }: Listed): RecordedContainer {
  const label = (key: keyof typeof LABELS) => Labels?.[`io.kubernetes.${LABELS[key]}`];
  const [name] = Names ?? [];
  return recordedContainer(Id, {
    name: label('name') ?? name?.replace(/^\//, ''),
    image: Image,
    pod: label('pod'),
    podUid: label('podUid'),
    namespace: label('namespace'),
  });
}
