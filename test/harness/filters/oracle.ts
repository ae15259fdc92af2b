/**
 * An independent judge of filters: @bufbuild/cel's own evaluator over a plain
 * object with every field set, unset ones to their zero values.
 */
import { type CelInput, CelScalar, celMethod, listType, run } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { timestampNsText } from '../../../src/text/time-text.js';
import type { BusEvent } from '../../../src/wire/event/event.js';

type Bindings = Record<string, CelInput>;

/** What is not CEL's own, written by what is. */
const TEXTS = listType(CelScalar.STRING);
const anyOf = (test: 'startsWith' | 'endsWith' | 'contains') =>
  celMethod(`${test}Any`, CelScalar.STRING, [TEXTS], CelScalar.BOOL, function (list) {
    return run(`list.exists(each, text.${test}(each))`, { list, text: String(this) }) === true;
  });
const FUNCS = [...strings, anyOf('startsWith'), anyOf('endsWith'), anyOf('contains')];

export function oracleMatches(text: string, event: BusEvent): boolean {
  return run(text, bindingsOf(event), { funcs: FUNCS }) === true;
}

function bindingsOf(event: BusEvent): Bindings {
  return {
    event: { type: event.type, topic: event.topic, time: timestamp(event.wallNs) },
    process: processOf(event),
    container: {
      id: event.container?.id ?? '',
      name: event.container?.name ?? '',
      image: { name: event.container?.image?.name ?? '', tags: [...(event.container?.image?.tags ?? [])] },
      unresolved: event.container?.unresolved ?? false,
    },
    k8s: {
      pod: { name: event.k8s?.podName ?? '', uid: event.k8s?.podUid ?? '' },
      namespace: { name: event.k8s?.namespaceName ?? '' },
    },
    host: { name: '' },
    network: {
      type: event.network?.type ?? '',
      transport: event.network?.transport ?? '',
      local: { address: event.network?.local.address ?? '', port: BigInt(event.network?.local.port ?? 0) },
      peer: { address: event.network?.peer.address ?? '', port: BigInt(event.network?.peer.port ?? 0) },
    },
    signal: {
      number: BigInt(event.signal?.number ?? 0),
      name: event.signal?.name ?? '',
      target_pid: BigInt(event.signal?.targetPid ?? 0),
      target_comm: event.signal?.targetComm ?? '',
      code: BigInt(event.signal?.code ?? 0),
      result: BigInt(event.signal?.result ?? 0),
    },
    syscall: {
      id: event.syscall?.id ?? 0n,
      name: event.syscall?.name ?? '',
      ...Object.fromEntries([0, 1, 2, 3, 4, 5].map((at) => [`arg${at}`, event.syscall?.args[at] ?? 0n])),
      result: event.syscall?.result ?? 0n,
      command: event.syscall?.command ?? '',
      target_pid: BigInt(event.syscall?.targetPid ?? 0),
    },
    mount: { source: '', target: '', type: '', missed: false, ...event.mount },
    object: { name: event.object?.name ?? '', name_missed: event.object?.nameMissed ?? false },
    file: {
      path: event.file?.path ?? '',
      path_missed: event.file?.pathMissed ?? false,
      path_resolved: event.file?.pathResolved ?? false,
      new_path: event.file?.newPath ?? '',
      descriptor: BigInt(event.file?.descriptor ?? 0),
      flags: BigInt(event.file?.flags ?? 0),
      mode: BigInt(event.file?.mode ?? 0),
      owner_id: BigInt(event.file?.ownerId ?? 0),
      group_id: BigInt(event.file?.groupId ?? 0),
      size: event.file?.size ?? 0n,
      mount_namespace: BigInt(event.file?.mountNamespace ?? 0),
    },
    notice: {
      reason: event.notice?.reason ?? '',
      message: event.notice?.message ?? '',
      lost: BigInt(event.notice?.lost ?? 0),
      source: event.notice?.source ?? '',
    },
  } as Bindings;
}

function processOf({ process }: BusEvent): CelInput {
  return {
    pid: BigInt(process?.pid ?? 0),
    parent_pid: BigInt(process?.parentPid ?? 0),
    comm: process?.comm ?? '',
    executable: { path: process?.executable?.path ?? '', name: process?.executable?.name ?? '' },
    command_args: [...(process?.commandArgs ?? [])],
    command_args_missed: process?.commandArgsMissed ?? false,
    command_args_truncated: process?.commandArgsTruncated ?? false,
    working_directory: process?.workingDirectory ?? '',
    user: { id: BigInt(process?.user?.id ?? 0) },
    creation_time: timestamp(process?.creationTimeNs ?? 0n),
    cgroup: { path: process?.cgroup?.path ?? '' },
    thread_id: BigInt(process?.threadId ?? 0),
    previous_comm: process?.previousComm ?? '',
    inferred: [...(process?.inferred ?? [])],
  } as CelInput;
}

/** Timestamps made by the evaluator itself, since it accepts no others. */
function timestamp(ns: bigint): CelInput {
  return run(`timestamp("${timestampNsText(ns)}")`) as CelInput;
}
