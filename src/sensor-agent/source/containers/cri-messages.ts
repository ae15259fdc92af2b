/**
 * The part of the Container Runtime Interface (k8s.io/cri-api, the same in runtime.v1 and runtime.v1alpha2) that names
 * containers. Read by hand, because most of an answer are annotations that nobody needs, and because a runtime is not
 * trusted with this process's memory.
 *
 *   ListContainersRequest, ListPodSandboxRequest := filter 1 (id 1)
 *   ContainerStatusRequest  := container_id 1
 *   ListContainersResponse  := Container 1 *
 *   Container               := id 1 | pod_sandbox_id 2 | metadata 3 (name 1) | image 4 | state 6
 *   ListPodSandboxResponse  := PodSandbox 1 *
 *   PodSandbox              := id 1 | metadata 2 (name 1 | uid 2 | namespace 3)
 *   ContainerStatusResponse := status 1 (image 8)
 *   image                   := image 1 | user_specified_image 18
 *
 * Fields that are not here are passed over. What is no such message throws invalid_argument.
 */
import { CONTAINERS_MAX } from '../../../limits/containers.js';
import { LENGTH, ProtoReader, ProtoWriter, VARINT } from '../../../wire/protobuf.js';

export interface CriContainer {
  readonly id: string;
  readonly podId: string;
  readonly name: string;
  readonly image: string;
  readonly ended: boolean;
}

export interface CriPod {
  readonly id: string;
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
}

/** Of a Container, and CONTAINER_EXITED of ContainerState. */
const STATE = 6;
const EXITED = 2;

/** Of one container or pod; undefined: of all. */
export function listRequest(id?: string): Buffer {
  return id === undefined ? Buffer.alloc(0) : textField(1, textField(1, id));
}

export function statusRequest(id: string): Buffer {
  return textField(1, id);
}

/** At most as many as are remembered; of `ids` alone where they are given. */
export function readContainers(answer: Buffer, ids?: ReadonlySet<string>): CriContainer[] {
  return listed(answer, ids, ({ texts, number, chunks }) => ({
    id: texts(1),
    podId: texts(2),
    name: fieldsOf(chunks(3)).texts(1),
    image: imageOf(chunks(4)),
    ended: number === EXITED,
  }));
}

export function readPods(answer: Buffer, ids?: ReadonlySet<string>): CriPod[] {
  return listed(answer, ids, ({ texts, chunks }) => {
    const { texts: named } = fieldsOf(chunks(2));
    return { id: texts(1), name: named(1), uid: named(2), namespace: named(3) };
  });
}

/** The image's name in a ContainerStatusResponse. */
export function readImage(answer: Buffer): string {
  return imageOf(fieldsOf(fieldsOf(answer).chunks(1)).chunks(8));
}

/** What the user wrote is the name; else what the kubelet gave the runtime, which is often an id. */
function imageOf(bytes: Buffer): string {
  const { texts } = fieldsOf(bytes);
  return texts(18) || texts(1);
}

function listed<T>(answer: Buffer, ids: ReadonlySet<string> | undefined, read: (fields: Fields) => T): T[] {
  const reader = new ProtoReader(answer, 'answer of the container runtime');
  const found: T[] = [];
  while (reader.nextTag() && found.length < CONTAINERS_MAX) {
    if (reader.field !== 1 || reader.wireType !== LENGTH) {
      reader.skip();
      continue;
    }
    const fields = fieldsOf(reader.chunk(), STATE);
    if (ids === undefined || ids.has(fields.texts(1))) found.push(read(fields));
  }
  return found;
}

type Fields = ReturnType<typeof fieldsOf>;

const NOTHING = Buffer.alloc(0);

/**
 * The last of each field, as protobuf has it. `numbered`: the field that is read as a number; of the others some are times,
 * beyond 2^53.
 */
function fieldsOf(bytes: Buffer, numbered?: number) {
  const reader = new ProtoReader(bytes, 'answer of the container runtime');
  const parts = new Map<number, Buffer>();
  let number = 0;
  while (reader.nextTag()) {
    if (reader.wireType === LENGTH) parts.set(reader.field, reader.chunk());
    else if (reader.field === numbered && reader.wireType === VARINT) number = reader.varint();
    else reader.skip();
  }
  return {
    chunks: (field: number) => parts.get(field) ?? NOTHING,
    texts: (field: number) => parts.get(field)?.toString('utf8') ?? '',
    number,
  };
}

function textField(field: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const writer = new ProtoWriter(bytes.length + 16);
  writer.bytesField(field, bytes);
  return writer.finish();
}
