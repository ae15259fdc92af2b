/**
 * A probe of each change of a process's user: commit_creds is handed the credentials that the calling task has from then
 * on, at setuid and the like and at each exec. Where they have the effective user the kernel itself describes (BTF); it
 * is the host's number, whatever the process's user namespace calls it.
 */

import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { put } from '../tracefs/put.js';
import { kernelTypes } from './btf.js';
import { allDefinitions, define, recordedGroup, undefine } from './definitions.js';
import { withProof } from './proof.js';

const NAME = 'commit_creds';
/** Users that nobody has: a 31-bit number, as Node takes it. */
const OWN_USERS = [1_000_000_000, 2_147_483_647] as const;
const PROOF_MS_MAX = 10_000;

export interface UserPoint {
  /** `group/event`, once it told the user of a process of our own. */
  readonly event: string | undefined;
  /** Why there is none. */
  readonly problem: string | undefined;
}

/** Defines it. One that an agent of this recorder left is believed, as it has proved it. Takes some tens of milliseconds. */
export function defineUserPoint(tracefs: string, recorderId: string): UserPoint {
  if (!existsSync(join(tracefs, 'kprobe_events'))) return { event: undefined, problem: 'this kernel has no kprobes' };
  const event = `${recordedGroup(recorderId)}/${NAME}`;
  if (allDefinitions(tracefs)?.includes(event)) return { event, problem: undefined };
  const [register] = OWN_ARCHITECTURE?.registers ?? [];
  const offset = kernelTypes()?.offset('cred', 'euid');
  if (register === undefined || offset === undefined)
    return { event: undefined, problem: 'the kernel does not say where credentials have the user' };
  try {
    define(tracefs, event, NAME, `user=+${offset}(${register}):u32`);
    if (withProof(tracefs, recorderId, (instance) => tellsUser(instance, event))) return { event, problem: undefined };
    undefine(tracefs, event);
    return { event: undefined, problem: `${NAME} did not tell the user of a process of our own` };
  } catch (cause) {
    undefine(tracefs, event);
    return { event: undefined, problem: (cause as Error).message };
  }
}

/** Runs a program as a user that nobody else is. */
function tellsUser(instance: string, event: string): boolean {
  const user = randomInt(...OWN_USERS);
  const at = (file: string) => join(instance, 'events', event, file);
  put(at('filter'), `user == ${user}`);
  put(at('enable'), '1');
  try {
    const file = ['/bin/true', '/usr/bin/true'].find((path) => existsSync(path)) ?? process.execPath;
    spawnSync(file, ['--version'], { uid: user, env: {}, stdio: 'ignore', timeout: PROOF_MS_MAX });
  } finally {
    put(at('enable'), '0');
  }
  return readFileSync(join(instance, 'trace'), 'utf8').includes(` user=${user}\n`);
}
