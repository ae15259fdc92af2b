/**
 * Trace instances and probes of agents that are gone: they go on recording, and hold kernel memory, until an agent takes
 * them over or somebody removes them. One whose agent lives is never touched: whoever has its files open owns it.
 */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { nodeFileOps } from '../../../storage/file-ops.js';
import { readIdentity } from '../../../storage/identity.js';
import { memoriesAnswer } from '../command-lines/memories.js';
import { undefineDatagramCopies } from '../datagrams/datagram-points.js';
import { foreignNames } from '../exec/foreign-copies.js';
import { allDefinitions, instanceOf, probeGroup, queriesName, undefineAll } from '../probe/definitions.js';
import { abandonProof, proofName } from '../probe/proof.js';
import { undefinePoints } from '../probe/recorded-points.js';
import { removeInstance } from './instance.js';
import { findTracefs } from './mount.js';
import { instanceOwner } from './owner.js';

const NAME = /^backplane-/;
const PROOF = /-proof$/;
/** `doctor` has an id of its own each time, and cleans up after itself unless it is killed. */
const DOCTOR = /^backplane-doctor-(\d+)-/;
/** A process that was killed closes its files a moment later. */
const LOOK_MS = 20;

/** Paths of all of Backplane's instances that no living process uses. */
export function strayInstances(): string[] {
  const instances = instancesFolder();
  if (instances === undefined) return [];
  // An agent that starts, or a doctor, proves its probes in one that nobody reads.
  const names = readdirSync(instances).filter(
    (name) => NAME.test(name) && (!PROOF.test(name) || isOfEndedDoctor(name)) && instanceOwner(name) === undefined,
  );
  return names.map((name) => join(instances, name));
}

function isOfEndedDoctor(name: string): boolean {
  const pid = DOCTOR.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

/** `group/event` of definitions that are left of agents whose instances are gone, too. */
export function strayDefinitions(): string[] {
  const instances = instancesFolder();
  if (instances === undefined) return [];
  // Names of groups have no dash.
  const owners = readdirSync(instances).filter((name) => !isOfEndedDoctor(name));
  const groups = new Set(owners.map((name) => name.replace(PROOF, '').replaceAll('-', '_')));
  return (allDefinitions(dirname(instances)) ?? []).filter((event) => {
    const [group = ''] = event.split('/');
    return group.startsWith(probeGroup('')) && !groups.has(instanceOf(group));
  });
}

/**
 * Removes the instances and probes of the recorder in a folder once its agent has ended. Events that the agent had not read are
 * lost, and the next agent states that. Waits up to `waitMs` for the agent's end; returns the removed instances.
 */
export function removeInstancesOf(recorderDir: string, waitMs: number): string[] {
  const instances = instancesFolder();
  const key = readIdentity(nodeFileOps, recorderDir);
  if (instances === undefined || key === undefined) return [];
  const recorderId = key.identity.toString(16).padStart(16, '0');
  const name = `backplane-${recorderId}`;
  const execs = `${name}-exec`;
  const all = [name, execs, ...foreignNames(execs), queriesName(recorderId), proofName(recorderId)];
  const left = all.filter((each) => existsSync(join(instances, each)));
  const endMs = performance.now() + waitMs;
  const removed = left.filter((each) => {
    // Probes in files are on in these.
    if (each.startsWith(execs) && !memoriesAnswer()) return false;
    while (instanceOwner(each) !== undefined) {
      if (performance.now() >= endMs) return false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
    }
    return removeInstance(join(instances, each));
  });
  // Refused while an agent has them switched on in its instance.
  undefineAll(dirname(instances), probeGroup(recorderId));
  undefinePoints(dirname(instances), recorderId);
  undefineDatagramCopies(dirname(instances), recorderId);
  abandonProof(dirname(instances), recorderId);
  return removed;
}

function instancesFolder(): string | undefined {
  const tracefs = findTracefs();
  return tracefs === undefined ? undefined : join(tracefs, 'instances');
}
