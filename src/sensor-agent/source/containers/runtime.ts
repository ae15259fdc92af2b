/** A container runtime of this machine, as far as it is asked who its containers are. */
import {
  CONTAINER_IMAGE_CHARACTERS_MAX,
  CONTAINER_NAME_CHARACTERS_MAX,
  CONTAINER_TAG_CHARACTERS_MAX,
} from '../../../limits/containers.js';
import type { RecordedContainer } from '../../recorder/recording.js';

/** What a runtime says is believed as a name, and as nothing else: it is cut to the limits before it is recorded. */
export interface Runtime {
  /** All of its containers that have not ended, pods' own included. */
  list(): Promise<readonly RecordedContainer[]>;
  /** Those of them that it knows, also where they have ended; by as few questions as there can be. */
  find(ids: readonly string[]): Promise<readonly RecordedContainer[]>;
  /** Idempotent; what is under way fails. */
  close(): void;
}

/** It speaks, but does not offer what is asked: there is nothing to wait for. */
export class NoSuchService extends Error {}

export interface Names {
  readonly name?: string | undefined;
  /** As the runtime has it: with tag, digest, or an id alone. */
  readonly image?: string | undefined;
  readonly pod?: string | undefined;
  readonly podUid?: string | undefined;
  readonly namespace?: string | undefined;
}

export function recordedContainer(id: string, names: Names): RecordedContainer {
  const { name, tag } = imageParts(names.image ?? '');
  return {
    id,
    name: cut(names.name),
    image: cut(name, CONTAINER_IMAGE_CHARACTERS_MAX),
    tag: cut(tag, CONTAINER_TAG_CHARACTERS_MAX),
    pod: cut(names.pod),
    podUid: cut(names.podUid),
    namespace: cut(names.namespace),
  };
}

/** An image that is known by its digest alone, of which somebody may know the name. */
export function isImageId(image: string): boolean {
  return /^(sha256:)?[0-9a-f]{64}$/.test(image);
}

/** `registry:5000/path/name:tag@digest`; a port has a slash behind it. */
function imageParts(image: string): { name: string; tag: string | undefined } {
  if (isImageId(image)) return { name: image, tag: undefined };
  const [named = ''] = image.split('@', 1);
  const colon = named.lastIndexOf(':');
  if (colon <= named.lastIndexOf('/')) return { name: named, tag: undefined };
  return { name: named.slice(0, colon), tag: named.slice(colon + 1) };
}

/** Empty is absent. Not within a pair of surrogates, so that it stays what can be encoded. */
function cut(text: string | undefined, charactersMax = CONTAINER_NAME_CHARACTERS_MAX): string | undefined {
  return text ? text.slice(0, charactersMax).replace(/[\ud800-\udbff]$/, '') : undefined;
}
