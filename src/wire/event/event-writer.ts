/**
 * Encodes events at the node, once, as the run `tag length Event` of EventBatch.events, so that frames concatenate into
 * batches without decoding. Hand-written, because encoding is the main cost of publishing.
 *
 *   Run := 0x2a | length varint | Event        (EventBatch field 5)
 */
import {
  ANCESTOR_BYTES_MAX,
  COMMAND_LINE_BYTES_MAX,
  EVENT_ARGUMENTS_BYTES_MAX,
  EVENT_BESIDE_BYTES_MAX,
  EVENT_BYTES_MAX,
  EXECUTABLE_NAME_BYTES_MAX,
  PARENT_ARGUMENTS_BYTES_MAX,
} from '../../limits.js';
import { TimestampParts } from '../../nanoseconds.js';
import type { Position } from '../position.js';
import { GrowingWriter } from '../protobuf.js';
import type {
  BusEvent,
  ContainerContext,
  DnsContext,
  Endpoint,
  ExecutableContext,
  FileContext,
  KubernetesContext,
  MountContext,
  NetworkContext,
  NoticeContext,
  ObjectContext,
  ParentContext,
  ProcessContext,
  RawContext,
  SignalContext,
  SyscallContext,
  UserContext,
} from './event.js';
import { cutRuns, type FieldMask } from './field-mask.js';

const EVENT_RUN_TAG = 0x2a;

/** A growing buffer of event runs. Reused: `take` hands out a copy and starts over. */
export class EventWriter extends GrowingWriter {
  readonly #parts = new TimestampParts();

  constructor(capacityBytes = 16 * 1024) {
    super(capacityBytes, EVENT_BYTES_MAX);
  }

  get length(): number {
    return this.end;
  }

  /** Appends one event, or the part that the mask keeps; returns the bytes of its run. */
  write(event: BusEvent, mask?: FieldMask): number {
    this.reserve(EVENT_BYTES_MAX);
    const start = this.end;
    try {
      return this.#write(event, mask, start);
    } catch (cause) {
      this.end = start;
      throw cause;
    }
  }

  #write(event: BusEvent, mask: FieldMask | undefined, start: number): number {
    const run = this.open(EVENT_RUN_TAG);
    this.string(0x0a, event.type);
    this.#timestamp(0x12, event.wallNs);
    this.#position(0x1a, event.position);
    const end = start + EVENT_BYTES_MAX - EVENT_BESIDE_BYTES_MAX;
    if (event.process) this.#process(event.process, mask !== undefined, end);
    if (event.container) this.#container(event.container);
    if (event.network) this.#network(event.network);
    if (event.signal) this.#signal(event.signal);
    if (event.notice) this.#notice(event.notice);
    if (event.raw) this.#raw(event.raw);
    if (event.syscall) this.#syscall(event.syscall);
    if (event.file) this.#file(event.file);
    if (event.mount) this.#mount(event.mount);
    if (event.object) this.#object(event.object);
    if (event.dns) this.#dns(event.dns);
    if (event.k8s) this.#kubernetes(event.k8s);
    this.close(run);
    if (mask) this.end = start + cutRuns(this.bytes.subarray(start, this.end), mask).copy(this.bytes, start);
    return this.end - start;
  }

  /** A copy of everything written since the last take. */
  take(): Buffer {
    const copy = Buffer.from(this.bytes.subarray(0, this.end));
    this.end = 0;
    return copy;
  }

  /**
   * `named`: with the fields that a mask may name, which cuts those that it does not. Of them only what ends before
   * `end` is written.
   */
  #process(process: ProcessContext, named: boolean, end: number): void {
    const at = this.open(0x22);
    this.int(0x08, process.pid);
    this.int(0x10, process.parentPid ?? 0);
    this.string(0x1a, process.comm);
    if (process.executable) this.#executable(0x22, process.executable, named);
    const isWhole = this.elements(0x2a, process.commandArgs ?? [], EVENT_ARGUMENTS_BYTES_MAX);
    if (process.commandArgsMissed) this.int(0x30, 1);
    this.int(0x38, process.redactions ?? 0);
    this.string(0x42, process.workingDirectory);
    if (process.user) this.#user(0x4a, process.user, named);
    if (process.creationTimeNs !== undefined) this.#timestamp(0x52, process.creationTimeNs);
    if (process.cgroup) {
      const cgroup = this.open(0x5a);
      this.string(0x0a, process.cgroup.path);
      this.close(cgroup);
    }
    this.int(0x60, process.threadId ?? 0);
    this.string(0x6a, process.previousComm);
    if (process.commandArgsTruncated || !isWhole) this.int(0x70, 1);
    if (process.parent) this.#parent(process.parent, named, end);
    if (named) this.#named(process, end);
    for (const field of process.inferred ?? []) {
      this.byte(0xb2);
      this.element(0x01, field);
    }
    this.close(at);
  }

  #parent({ pid, executable, commandArgs = [], creationTimeNs }: ParentContext, named: boolean, end: number): void {
    const at = this.open(0x7a);
    this.int(0x08, pid);
    if (executable) this.#executable(0x12, executable, named);
    if (named) {
      this.elements(0x1a, commandArgs, Math.min(PARENT_ARGUMENTS_BYTES_MAX, end - this.end));
      if (creationTimeNs !== undefined) this.#timestamp(0x22, creationTimeNs);
    }
    this.close(at);
  }

  /** Fields with numbers beyond 15: the first of each tag's two bytes is written apart. */
  #named(process: ProcessContext, end: number): void {
    for (const ancestor of process.ancestors ?? []) {
      if (this.end + ANCESTOR_BYTES_MAX > end) break;
      this.byte(0x82);
      this.element(0x01, ancestor, ANCESTOR_BYTES_MAX);
    }
    if (process.commandArgs?.length && this.end < end) {
      this.byte(0x8a);
      this.element(0x01, process.commandArgs.join(' '), Math.min(COMMAND_LINE_BYTES_MAX, end - this.end));
    }
    // It has presence: 0 is written.
    if (process.exitCode !== undefined) {
      this.byte(0x90);
      this.byte(0x01);
      this.varint(process.exitCode);
    }
    if (process.exitSignal) {
      this.byte(0x9a);
      this.element(0x01, process.exitSignal);
    }
    if (process.loginUser) {
      this.byte(0xa2);
      this.#user(0x01, process.loginUser, true);
    }
    if (process.tty) {
      this.byte(0xaa);
      this.element(0x01, process.tty);
    }
  }

  #executable(tag: number, { path, name, deleted }: ExecutableContext, named: boolean): void {
    const at = this.open(tag);
    this.string(0x0a, path);
    if (name) this.element(0x12, name, EXECUTABLE_NAME_BYTES_MAX);
    if (named && deleted) this.int(0x18, 1);
    this.close(at);
  }

  /** User.id has presence: 0 is root and is written. */
  #user(tag: number, { id, name }: UserContext, named: boolean): void {
    const at = this.open(tag);
    this.byte(0x08);
    this.varint(id);
    if (named) this.string(0x12, name);
    this.close(at);
  }

  #container({ id, name, image, unresolved }: ContainerContext): void {
    const at = this.open(0x2a);
    this.string(0x0a, id);
    this.string(0x12, name);
    if (image) {
      const inner = this.open(0x1a);
      this.string(0x0a, image.name);
      for (const tag of image.tags ?? []) this.element(0x12, tag);
      this.close(inner);
    }
    if (unresolved) this.int(0x20, 1);
    this.close(at);
  }

  #kubernetes({ podName, podUid, namespaceName }: KubernetesContext): void {
    // The first of the tag's two bytes.
    this.byte(0xa2);
    const at = this.open(0x01);
    const pod = this.open(0x0a);
    this.string(0x0a, podName);
    this.string(0x12, podUid);
    this.close(pod);
    const namespace = this.open(0x12);
    this.string(0x0a, namespaceName);
    this.close(namespace);
    this.close(at);
  }

  #network(network: NetworkContext): void {
    const at = this.open(0x32);
    this.string(0x0a, network.type);
    this.string(0x12, network.transport);
    this.#endpoint(0x1a, network.local);
    this.#endpoint(0x22, network.peer);
    if (network.failed) this.int(0x28, 1);
    this.int(0x30, network.datagrams ?? 0);
    this.close(at);
  }

  #dns({ question, questionMissed, redactions }: DnsContext): void {
    // The first of the tag's two bytes.
    this.byte(0x82);
    const at = this.open(0x01);
    if (question) {
      const asked = this.open(0x0a);
      this.string(0x0a, question.name);
      this.string(0x12, question.type);
      this.close(asked);
    }
    if (questionMissed) this.int(0x10, 1);
    this.int(0x18, redactions ?? 0);
    this.close(at);
  }

  #endpoint(tag: number, endpoint: Endpoint): void {
    const at = this.open(tag);
    this.string(0x0a, endpoint.address);
    this.int(0x10, endpoint.port);
    this.close(at);
  }

  #signal(signal: SignalContext): void {
    const at = this.open(0x3a);
    this.int(0x08, signal.number);
    this.string(0x12, signal.name);
    this.int(0x18, signal.targetPid);
    this.string(0x22, signal.targetComm);
    this.int(0x28, signal.code);
    this.int(0x30, signal.result);
    this.close(at);
  }

  #notice(notice: NoticeContext): void {
    const at = this.open(0x42);
    this.string(0x0a, notice.reason);
    this.string(0x12, notice.message);
    this.int(0x18, notice.lost ?? 0);
    if (notice.lostUnknown) this.int(0x20, 1);
    this.string(0x2a, notice.source);
    this.close(at);
  }

  #raw(raw: RawContext): void {
    const at = this.open(0x4a);
    this.string(0x0a, raw.name);
    for (const [name, value] of Object.entries(raw.fields)) {
      const entry = this.open(0x12);
      this.element(0x0a, name);
      this.element(0x12, value);
      this.close(entry);
    }
    this.close(at);
  }

  #syscall(call: SyscallContext): void {
    const at = this.open(0x52);
    this.int64(0x08, call.id);
    this.string(0x12, call.name);
    if (call.args.length > 0) {
      const packed = this.open(0x1a);
      for (const argument of call.args) this.eight(argument);
      this.close(packed);
    }
    this.int64(0x20, call.result);
    if (call.returned) this.int(0x28, 1);
    this.string(0x32, call.command);
    this.int(0x38, call.targetPid ?? 0);
    this.close(at);
  }

  #file(file: FileContext): void {
    const at = this.open(0x5a);
    this.string(0x0a, file.path);
    if (file.pathMissed) this.int(0x10, 1);
    this.int(0x18, file.descriptor);
    this.int(0x20, file.flags);
    this.int(0x28, file.mode);
    if (file.newPath !== undefined) this.string(0x32, file.newPath);
    if (file.pathResolved === true) this.int(0x38, 1);
    // They have presence: 0 is written.
    if (file.ownerId !== undefined) this.present(0x40, BigInt(file.ownerId));
    if (file.groupId !== undefined) this.present(0x48, BigInt(file.groupId));
    if (file.size !== undefined) this.present(0x50, file.size);
    if (file.mountNamespace !== undefined) this.int(0x58, file.mountNamespace);
    this.close(at);
  }

  #mount(mount: MountContext): void {
    const at = this.open(0x62);
    this.string(0x0a, mount.source);
    this.string(0x12, mount.target);
    this.string(0x1a, mount.type);
    if (mount.missed) this.int(0x20, 1);
    this.close(at);
  }

  #object(object: ObjectContext): void {
    const at = this.open(0x6a);
    this.string(0x0a, object.name);
    if (object.nameMissed) this.int(0x10, 1);
    this.close(at);
  }

  #position(tag: number, position: Position): void {
    const at = this.open(tag);
    this.int(0x08, position.epoch);
    this.fixed64(0x11, position.timeNs);
    this.int(0x18, position.lane);
    this.int(0x20, position.tie);
    this.close(at);
  }

  #timestamp(tag: number, wallNs: bigint): void {
    const at = this.open(tag);
    this.#parts.split(wallNs);
    this.int(0x08, this.#parts.seconds);
    this.int(0x10, this.#parts.nanos);
    this.close(at);
  }
}
