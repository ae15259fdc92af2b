/**
 * Finds out what this node can and cannot see. Everything is tried, in a trace
 * instance made for it and removed: features that a kernel lists often do not
 * work.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { BackplaneError } from '../../errors.js';
import { KERNEL_BUFFER_BYTES_PER_CPU, KiB, MiB } from '../../limits.js';
import { CATALOGUE, PROFILES, type Profile } from '../../subscriptions/pushdown/catalogue.js';
import type { CompiledRule } from '../redaction/rule.js';
import type { KubeletFiles } from '../source/containers/kubelet-runtime.js';
import { pids } from '../source/process-reader.js';
import { TraceInstance } from '../source/tracefs/instance.js';
import { works } from '../source/tracefs/instance-controls.js';
import { openTracefs } from '../source/tracefs/mount.js';
import { LITE_EVENTS, profileEvents } from '../source/tracefs/profile-events.js';
import { put } from '../source/tracefs/put.js';
import { strayDefinitions, strayInstances } from '../source/tracefs/strays.js';
import type { Check } from './doctor-check.js';
import { containerRuntimes } from './doctor-containers.js';
import { tryArguments, tryDatagrams, tryDynamicEvents, tryNames, tryPaths, tryUsers } from './doctor-probes.js';

export type { Check };

const CAP_SYS_PTRACE = 19n;
const CAP_SYS_ADMIN = 21n;
const MOUNT_PROC = 'mount -t proc proc /proc';
const RUN_AS_ROOT =
  'run the agent as root, in Kubernetes as deploy/kubernetes does: hostPID, SYS_ADMIN, SYS_PTRACE, the tracefs of the node writable';

/**
 * Tries everything the agent may use, most basic first, and says which redaction rules hold. Never throws; leaves nothing
 * behind but a mounted tracefs. `containers`: the setting agent.containers, `kubelet`: the files of a kubelet in it.
 */
export async function runDoctor(
  redaction: readonly CompiledRule[],
  containers: readonly string[],
  kubelet: KubeletFiles,
): Promise<Check[]> {
  const runtimes = await containerRuntimes(containers, kubelet);
  const checks = [privileges(), processes(), cgroups(), runtimes, ...redactionChecks(redaction)];
  let path: string;
  try {
    const tracefs = openTracefs();
    path = tracefs.path;
    checks.push({ name: 'tracefs', state: 'ok', detail: `${path}${tracefs.mounted ? ' (mounted it just now)' : ''}` });
  } catch (cause) {
    checks.push({ name: 'tracefs', state: 'missing', detail: (cause as Error).message, mend: RUN_AS_ROOT });
    return checks;
  }
  let instance: TraceInstance;
  try {
    const name = `backplane-doctor-${process.pid}`;
    instance = new TraceInstance(path, { name, bufferBytesPerCpu: 1 * MiB, subBufferBytes: 64 * KiB, events: [] });
    checks.push({ name: 'trace instance', state: 'ok', detail: 'made one' });
  } catch (cause) {
    checks.push({ name: 'trace instance', state: 'missing', detail: (cause as Error).message, mend: RUN_AS_ROOT });
    return checks;
  }
  try {
    checks.push(...instanceChecks(instance), ...tryDynamicEvents(path));
  } finally {
    instance.removeSync();
  }
  checks.push(await tryArguments(path), await tryPaths(path), tryNames(path), await tryUsers(path));
  checks.push(await tryDatagrams(path), ...strays());
  return checks;
}

function instanceChecks(instance: TraceInstance): Check[] {
  return [
    clock(instance),
    subBuffers(instance),
    ...LITE_EVENTS.map((event) => tracepoint(instance, event)),
    attempt('kernel filters', 'wrote one', 'events are filtered by the agent alone', () => {
      put(join(instance.path, 'events/sched/sched_process_exec/filter'), 'pid > 1 && filename ~ "/usr/*"');
    }),
    attempt('system call events', 'enabled and disabled one', 'single system calls cannot be watched', () => {
      toggle(instance, 'syscalls/sys_enter_ptrace');
    }),
    attempt('raw system calls', 'enabled and disabled them', 'system calls cannot be recorded', () => {
      toggle(instance, 'raw_syscalls/sys_enter');
    }),
    ...PROFILES.filter((profile) => profile !== 'lite').map((profile) => profileCheck(instance, profile)),
    memory(instance),
  ];
}

/**
 * Checks that each of the profile's trace events can be switched on, and states what they cannot show on any kernel. What
 * they cannot show without probes is for the checks of those (doctor-probes.ts), which know whether there are some.
 */
function profileCheck(instance: TraceInstance, profile: Profile): Check {
  const name = `profile ${profile}`;
  const events = profileEvents(profile);
  const absent = events.filter((event) => !works(() => toggle(instance, event)));
  const entries = [...CATALOGUE.values()].filter((entry) => entry.profile === profile);
  const unseen = [...new Set(entries.flatMap(({ blindSpot }) => blindSpot ?? []))];
  const has = `${events.length - absent.length} of ${events.length} events`;
  const lacks = absent.length === 0 ? [] : [`not ${absent.join(', ')}`];
  const detail = [has, ...lacks, ...unseen].join('; ');
  if (absent.length === events.length) return { name, state: 'missing', detail };
  return { name, state: absent.length + unseen.length === 0 ? 'ok' : 'limited', detail };
}

function privileges(): Check {
  const name = 'privileges';
  const effective = /^CapEff:\s+([0-9a-f]+)$/m.exec(procText('self/status'))?.[1];
  if (effective === undefined) return { name, state: 'limited', detail: 'not known without /proc', mend: MOUNT_PROC };
  const has = (capability: bigint) => ((BigInt(`0x${effective}`) >> capability) & 1n) === 1n;
  const uid = process.geteuid?.() ?? -1;
  if (uid !== 0) return { name, state: 'limited', detail: `runs as user ${uid}`, mend: RUN_AS_ROOT };
  const lacks = [...(has(CAP_SYS_ADMIN) ? [] : ['CAP_SYS_ADMIN']), ...(has(CAP_SYS_PTRACE) ? [] : ['CAP_SYS_PTRACE'])];
  if (lacks.length === 0) return { name, state: 'ok', detail: 'root with all that is needed' };
  return {
    name,
    state: 'limited',
    detail: `root without ${lacks.join(' and ')}`,
    mend: `grant ${lacks.join(' and ')}`,
  };
}

/**
 * Checks what is visible in /proc: it may be mounted with hidepid, or links of other users' processes may be
 * unreadable.
 */
function processes(): Check {
  const name = 'processes in /proc';
  const all = pids('/proc');
  if (all.length === 0) return { name, state: 'missing', detail: '/proc is not mounted', mend: MOUNT_PROC };
  if (!all.includes(1)) {
    return { name, state: 'missing', detail: 'process 1 is hidden', mend: 'mount /proc without hidepid' };
  }
  const denied = all.filter((pid) => linkError(`/proc/${pid}/exe`) === 'EACCES').length;
  const detail = `${all.length - denied} of ${all.length} processes are open to us`;
  if (denied * 2 > all.length) return { name, state: 'limited', detail, mend: 'grant CAP_SYS_PTRACE' };
  return { name, state: 'ok', detail };
}

/** Empty where it cannot be read. */
function procText(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch {
    return '';
  }
}

function linkError(path: string): string | undefined {
  try {
    readlinkSync(path);
    return undefined;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code;
  }
}

function cgroups(): Check {
  const text = procText('self/cgroup').trim();
  if (text === '') {
    return { name: 'cgroups', state: 'limited', detail: 'containers are not recognised', mend: MOUNT_PROC };
  }
  const lines = text.split('\n');
  const version = lines.length === 1 && lines[0]!.startsWith('0::') ? 'version 2' : 'version 1 or mixed';
  return { name: 'cgroups', state: 'ok', detail: `${version}: containers are recognised by their path` };
}

/** States which secrets the recorder masks: one check for each field that has rules. */
function redactionChecks(rules: readonly CompiledRule[]): Check[] {
  if (rules.length === 0) {
    const mend = 'switch default rules on again (redaction.off)';
    return [{ name: 'redaction', state: 'limited', detail: 'no rule holds: secrets are recorded as they are', mend }];
  }
  return [...new Set(rules.map(({ field }) => field))].map((field) => {
    const names = rules
      .filter((rule) => rule.field === field)
      .map((rule) => `${rule.name}${rule.isDefault ? '' : ' (configured)'}`);
    return { name: `redaction of ${field}`, state: 'ok', detail: `${names.length} rules: ${names.join(', ')}` };
  });
}

function clock(instance: TraceInstance): Check {
  const clocks = readFileSync(join(instance.path, 'trace_clock'), 'utf8');
  if (clocks.includes('[boot]')) return { name: 'boot clock', state: 'ok', detail: 'set' };
  return {
    name: 'boot clock',
    state: 'missing',
    detail: `the kernel keeps ${clocks.trim()}`,
    mend: 'use Linux 4.10 or later',
  };
}

function subBuffers({ subBufferBytes }: TraceInstance): Check {
  const name = 'sub-buffers';
  if (subBufferBytes >= 64 * KiB) return { name, state: 'ok', detail: `${subBufferBytes / KiB} KiB` };
  const detail = `${subBufferBytes / KiB} KiB: recording volume costs more CPU`;
  return { name, state: 'limited', detail, mend: 'use Linux 6.8 or later' };
}

function tracepoint(instance: TraceInstance, event: string): Check {
  return attempt(`event ${event}`, 'enabled and disabled', 'not recorded here', () => toggle(instance, event));
}

/** Looks for trace instances and probes of agents that are gone. */
function strays(): Check[] {
  const instances = strayInstances();
  const probes = strayDefinitions();
  const removal = probes.map((event) => `echo '-:${event}' >> dynamic_events`).join('; ');
  return [
    strayCheck('trace instances left behind', 'no process reads', instances, `rmdir ${instances.join(' ')}`),
    strayCheck('probes left behind', 'no agent uses', probes, removal),
  ];
}

function strayCheck(name: string, what: string, left: readonly string[], removal: string): Check {
  if (left.length === 0) return { name, state: 'ok', detail: 'none' };
  const mend = `start their agents again, which take over what they hold, or: ${removal}`;
  return { name, state: 'limited', detail: `${what} ${left.join(', ')}`, mend };
}

function memory(instance: TraceInstance): Check {
  const kilobytes = KERNEL_BUFFER_BYTES_PER_CPU / KiB;
  const mend = "lower the recorder's kernel buffer";
  return attempt('kernel buffers', `${kilobytes} KiB per CPU`, mend, () => {
    put(join(instance.path, 'buffer_size_kb'), String(kilobytes));
    const got = Number(readFileSync(join(instance.path, 'buffer_size_kb'), 'utf8').split(' ')[0]);
    if (got < kilobytes) throw new BackplaneError('resource_exhausted', `${kilobytes} KiB per CPU wanted, got ${got}`);
  });
}

function toggle(instance: TraceInstance, event: string): void {
  const path = join(instance.path, 'events', event, 'enable');
  put(path, '1');
  put(path, '0');
}

/** Does something and reports that it worked, or the kernel's error and what that means. */
function attempt(name: string, done: string, otherwise: string, act: () => void): Check {
  try {
    act();
    return { name, state: 'ok', detail: done };
  } catch (cause) {
    return { name, state: 'missing', detail: `${(cause as Error).message}: ${otherwise}` };
  }
}
