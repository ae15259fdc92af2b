/** Which trace instances and probes an agent has, as the kernel says. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { definitionsOf, probeGroup } from '../../../src/sensor-agent/source/probe/definitions.js';
import { nodeFileOps } from '../../../src/storage/file-ops.js';
import { readIdentity } from '../../../src/storage/identity.js';
import { liveTracefs } from './live-kernel.js';

/** Paths of the instances that a process records, by the files that it has open. */
export function instancesOf(pid: number): string[] {
  const found = new Set<string>();
  for (const fd of descriptors(pid)) {
    const instance = /^(.*\/instances\/backplane-[^/]+)\/per_cpu/.exec(target(`/proc/${pid}/fd/${fd}`))?.[1];
    if (instance) found.add(instance);
  }
  return [...found].sort();
}

/** What the recorder of a data directory has in the kernel, whoever runs: its instances and `group/event` of its probes. */
export function leftOf(dataDir: string): { readonly instances: string[]; readonly definitions: string[] } {
  const key = readIdentity(nodeFileOps, join(dataDir, 'recorder'));
  if (key === undefined) return { instances: [], definitions: [] };
  const id = key.identity.toString(16).padStart(16, '0');
  const { path } = liveTracefs();
  const group = probeGroup(id);
  return {
    instances: readdirSync(join(path, 'instances')).filter((name) => name.startsWith(`backplane-${id}`)),
    definitions: ['', '_recorded', '_queries'].flatMap((suffix) => definitionsOf(path, group + suffix) ?? []),
  };
}

/** Folders of the CPUs of one of a data directory's instances, found by its name. */
export function lanesOf(dataDir: string, name: RegExp): string[] {
  const instance = leftOf(dataDir).instances.find((each) => name.test(each))!;
  const cpus = join(liveTracefs().path, 'instances', instance, 'per_cpu');
  return readdirSync(cpus).map((cpu) => join(cpus, cpu));
}

/** What was read of a CPU's buffer, by whoever. */
export function entriesRead(lane: string): number {
  return Number(/^read events: (\d+)/m.exec(readFileSync(join(lane, 'stats'), 'utf8'))?.[1]);
}

function descriptors(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
}

/** '' for a file that was closed since it was listed. */
function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}
