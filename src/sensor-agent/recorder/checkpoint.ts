/**
 * Checkpoint: everything a timeline must know to go on from a position by
 * reading the log from an ordinal, in parts that fit a record. A query opens at
 * the newest checkpoint before its window instead of at the recording's start.
 */
import {
  CHECKPOINT_INTERVAL_BYTES_MAX,
  CHECKPOINT_INTERVAL_BYTES_MIN,
  CHECKPOINT_INTERVAL_RATIO,
  CHECKPOINT_INTERVAL_SHARE,
  CHECKPOINT_PART_BYTES,
} from '../../limits.js';
import type { Position } from '../../wire/position.js';
import type { ClockPair } from '../source/source.js';
import { type ContainerTableState, containerBytes } from '../timeline/containers/container-table.js';
import type { DatagramState } from '../timeline/datagrams/datagram-events.js';
import type { KernelEvents } from '../timeline/kernel-events.js';
import { type ProcessState, processBytes } from '../timeline/process-state.js';
import type { ProcessTableState } from '../timeline/process-table.js';
import type { SocketTableState } from '../timeline/socket-table.js';
import type { Origin, RecordedExec, RecordedLoss } from './recording.js';

/** By which what was read up to `untilNs` has its wall time. */
export interface ClockBefore {
  readonly clock: ClockPair;
  readonly floorWallNs: bigint;
  readonly untilNs: bigint;
}

export interface CheckpointHead {
  readonly origin: Origin;
  /** Every event up to here has been accounted for. */
  readonly position: Position;
  readonly wallNs: bigint;
  readonly floorWallNs: bigint;
  /** Of the newest entry or notice read; 0: none. Earlier versions wrote the last event told. */
  readonly toldNs: bigint;
  readonly clock: ClockPair;
  /** Absent: none, or written by an earlier version. */
  readonly before?: ClockBefore | undefined;
  /** First record that may hold something after position. */
  readonly resumeOrdinal: number;
  /** The agent was stopped here. */
  readonly closed?: boolean | undefined;
  /** See Origin: how many of them are recorded or stated as lost. Absent: not known. */
  readonly entriesTaken?: number | undefined;
  /** Losses that go on. Absent: none. */
  readonly losses?: readonly RecordedLoss[] | undefined;
}

/** The first part has the head and is an anchor; the others follow at once. */
export interface Checkpoint {
  readonly part: number;
  readonly parts: number;
  readonly head?: CheckpointHead | undefined;
  readonly processes: ProcessTableState;
  readonly sockets: SocketTableState;
  /** Absent in older recordings. */
  readonly datagrams?: DatagramState | undefined;
  /** Absent in older recordings. */
  readonly containers?: ContainerTableState | undefined;
  /**
   * Side records of execs that are not told yet, kept here because an exec would wait for ever for one that was
   * evicted.
   */
  readonly execs: readonly RecordedExec[];
}

/** Bytes to record between a checkpoint of `bytes` bytes and the next one. */
export function checkpointIntervalBytes(bytes: number): number {
  const fair = Math.min(CHECKPOINT_INTERVAL_BYTES_MAX, CHECKPOINT_INTERVAL_SHARE * bytes);
  return Math.max(CHECKPOINT_INTERVAL_BYTES_MIN, fair, CHECKPOINT_INTERVAL_RATIO * bytes);
}

const TASK_BYTES = 16;
const SOCKET_BYTES = 32;
/** With two addresses. */
const DATAGRAMS_BYTES = 160;

/**
 * Splits the tables so that no part exceeds CHECKPOINT_PART_BYTES by more than one process. The first part has no
 * processes, so that a search by position, which reads the heads of several checkpoints, stays cheap.
 */
export function checkpointParts(
  head: CheckpointHead,
  kernel: KernelEvents,
  execs: readonly RecordedExec[],
): Checkpoint[] {
  const table = kernel.processes.save();
  const index = new Map<ProcessState, number>(table.processes.map((process, at) => [process, at]));
  const processes = [...table.processes];
  const sockets = kernel.sockets.save((process) => {
    const known = index.get(process);
    if (known !== undefined) return known;
    index.set(process, processes.length);
    return processes.push(process) - 1;
  });
  const datagrams = kernel.datagrams.save();
  const containers = kernel.containers.save();
  const chunks = {
    processes: chunked(processes, processBytes),
    tasks: chunked(table.tasks, () => TASK_BYTES),
    owners: chunked(sockets.owners, () => SOCKET_BYTES),
    listeners: chunked(sockets.listeners, () => SOCKET_BYTES),
    peers: chunked(datagrams.peers, () => DATAGRAMS_BYTES),
    threads: chunked(datagrams.threads, () => DATAGRAMS_BYTES),
    containers: chunked(containers.containers, containerBytes),
    execs: chunked(execs, execBytes),
  };
  const parts = Math.max(...Object.values(chunks).map((chunk) => chunk.length));
  return Array.from({ length: parts }, (_, part) => ({
    part,
    parts,
    head: part === 0 ? head : undefined,
    processes: {
      processes: chunks.processes[part] ?? [],
      tasks: chunks.tasks[part] ?? [],
      exited: part === 0 ? table.exited : [],
    },
    sockets: { owners: chunks.owners[part] ?? [], listeners: chunks.listeners[part] ?? [] },
    datagrams: { peers: chunks.peers[part] ?? [], threads: chunks.threads[part] ?? [] },
    containers: { asked: containers.asked, containers: chunks.containers[part] ?? [] },
    execs: chunks.execs[part] ?? [],
  }));
}

/** Brings the tables to where they were saved. */
export function restoreTables(parts: readonly Checkpoint[], kernel: KernelEvents): void {
  kernel.interrupt();
  const processes = kernel.processes.load({
    processes: parts.flatMap((part) => part.processes.processes),
    tasks: parts.flatMap((part) => part.processes.tasks),
    exited: parts.flatMap((part) => part.processes.exited),
  });
  kernel.datagrams.load({
    peers: parts.flatMap((part) => part.datagrams?.peers ?? []),
    threads: parts.flatMap((part) => part.datagrams?.threads ?? []),
  });
  kernel.containers.load({
    asked: parts.some((part) => part.containers?.asked),
    containers: parts.flatMap((part) => part.containers?.containers ?? []),
  });
  const owners = parts.flatMap((part) => part.sockets.owners);
  kernel.sockets.load({ owners, listeners: parts.flatMap((part) => part.sockets.listeners) }, processes);
}

/** Estimate, as processBytes(). */
function execBytes({ process }: RecordedExec): number {
  let bytes = 512 + (process?.cgroup?.length ?? 0) + (process?.workingDirectory?.length ?? 0);
  for (const argument of process?.args ?? []) bytes += argument.length + 16;
  return bytes + (process?.executablePath?.length ?? 0);
}

/** The first chunk is empty: it goes with the head. */
function chunked<T>(items: readonly T[], bytesOf: (item: T) => number): T[][] {
  const chunks: T[][] = [[]];
  let bytes = CHECKPOINT_PART_BYTES;
  for (const item of items) {
    bytes += bytesOf(item);
    if (bytes > CHECKPOINT_PART_BYTES) {
      chunks.push([]);
      bytes = bytesOf(item);
    }
    chunks.at(-1)!.push(item);
  }
  return chunks;
}
