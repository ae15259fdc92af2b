/** Bounds on what is asked and kept of containers. */
import { MiB } from './units.js';

/**
 * Containers whose names an agent remembers: several times what a kubelet runs (110 pods by default, some 500 where that
 * is raised), because what has ended stays known until there is no room.
 */
export const CONTAINERS_MAX = 4_096;
export const CONTAINERS_BYTES_MAX = 2 * MiB;
/** Part of them that goes at once where there is no room, so that not every new one has to look for the least used. */
export const CONTAINERS_SURPLUS_SHARE = 1 / 16;
/** Of a container in one record of the recording. */
export const CONTAINERS_PER_RECORD = 64;
/** Names of pods and namespaces are at most 253 characters; an image's with its registry may be longer. */
export const CONTAINER_NAME_CHARACTERS_MAX = 256;
export const CONTAINER_IMAGE_CHARACTERS_MAX = 512;
export const CONTAINER_TAG_CHARACTERS_MAX = 128;
/** All of them in one event: container, pod, its uid, namespace, image and tag, each character of three bytes. */
export const CONTAINER_EVENT_BYTES_MAX =
  3 * (4 * CONTAINER_NAME_CHARACTERS_MAX + CONTAINER_IMAGE_CHARACTERS_MAX + CONTAINER_TAG_CHARACTERS_MAX);

/** How long the first event of an unknown container waits for its names, and all events behind it. */
export const CONTAINER_WAIT_MS = 250;
/** Of all time, how much may pass so for containers that nobody names; and how much at once. */
export const CONTAINER_WAITS_SHARE = 0.1;
export const CONTAINER_WAITS_BURST_MS = 1_000;
/** A runtime that has not answered by then is not waited for: by far longer than one that works takes. */
export const CONTAINER_ANSWER_MS_MAX = 1_000;
/** Unknown containers that are asked about at a time; above, the one that was asked for first is given up. */
export const CONTAINERS_WANTED_MAX = 1_024;
/**
 * Questions to the runtimes that are under way at a time. One that hangs does not keep others from being asked; what comes up
 * while all are taken is asked for by the next, together.
 */
export const CONTAINER_QUESTIONS_MAX = 4;
/** Containers of one answer whose images' names are asked for at a time. */
export const IMAGES_ASKED_AT_ONCE_MAX = 8;
/** A runtime knows a pod a moment after the pod's first process has begun: asked again after this, doubling. */
export const CONTAINER_RETRY_MS_MIN = 20;
export const CONTAINER_RETRY_MS_MAX = 60_000;
/** One that did not answer is asked again after this. */
export const RUNTIME_PAUSE_MS = 1_000;
/** A kubelet, which always answers with all of its pods and looks at them once a second, is asked no sooner again. */
export const KUBELET_PAUSE_MS = 500;
/** By then no runtime here knows it: it was made by something else. */
export const CONTAINER_TRIES_MAX = 12;
/** How often sockets of runtimes are looked for, which may be started, or removed, later than the agent. */
export const RUNTIME_LOOK_MS = 10_000;
/** One runtime's answer: a list of all containers, with annotations that nobody reads, is some KiB each. */
export const RUNTIME_ANSWER_BYTES_MAX = 8 * MiB;
/** Labels of one node: what Kubernetes gives a node, several times over. */
export const NODE_LABELS_MAX = 64;
/** A node's own object, with the names of all images on it, is some tens of KiB. */
export const KUBERNETES_ANSWER_BYTES_MAX = 2 * MiB;
/** Recording waits for it when an agent starts. */
export const KUBERNETES_ANSWER_MS_MAX = 3_000;
/** Pods whose names are kept beside their ids, several times what a kubelet runs. */
export const PODS_SEEN_MAX = 1_024;
/** Some 64 of an id, 253 of a name, 63 of a namespace and 36 of an uid each. */
export const PODS_SEEN_CHARACTERS_MAX = PODS_SEEN_MAX * 512;
/** Images whose names are kept beside their ids. */
export const IMAGE_NAMES_MAX = 512;
