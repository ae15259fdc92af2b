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
import { USER_FIELD } from '../../../subscriptions/pushdown/catalogue.js';
import { put } from '../tracefs/put.js';
import { kernelTypes } from './btf.js';
import { allDefinitions, type DefinedAs, define, recordedGroup, trialGroup } from './definitions.js';
import { withProof } from './proof.js';

/** The function, and the event's name. */
export const USER_POINT = 'commit_creds';
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
export async function defineUserPoint(tracefs: string, recorderId: string): Promise<UserPoint> {
  if (!existsSync(join(tracefs, 'kprobe_events'))) return { event: undefined, problem: 'this kernel has no kprobes' };
  const event = eventOf(recorderId);
  if (allDefinitions(tracefs)?.includes(event)) return { event, problem: undefined };
  const fetch = fetchOf();
  if (fetch === undefined)
    return { event: undefined, problem: 'the kernel does not say where credentials have the user' };
  const trial = `${trialGroup(recorderId)}/${USER_POINT}`;
  try {
    const told = await withProof(tracefs, recorderId, (instance) => {
      define(tracefs, trial, USER_POINT, fetch);
      return tellsUser(instance, trial);
    });
    if (!told) return { event: undefined, problem: `${USER_POINT} did not tell the user of a process of our own` };
    define(tracefs, event, USER_POINT, fetch);
    return { event, problem: undefined };
  } catch (cause) {
    return { event: undefined, problem: (cause as Error).message };
  }
}

/** As what it is defined, where it is. */
export function userDefinedAs(recorderId: string): DefinedAs[] {
  const fetch = fetchOf();
  return fetch === undefined ? [] : [[eventOf(recorderId), [`${USER_POINT} ${fetch}`]]];
}

function eventOf(recorderId: string): string {
  return `${recordedGroup(recorderId)}/${USER_POINT}`;
}

/** Undefined where the kernel does not say where credentials have the user. */
function fetchOf(): string | undefined {
  const [register] = OWN_ARCHITECTURE?.registers ?? [];
  const offset = kernelTypes()?.offset('cred', 'euid');
  return register === undefined || offset === undefined ? undefined : `user=+${offset}(${register}):u32`;
}

/** By the field that it is of: what is not known of users for want of the probe. */
export function unfollowedOf(problem: UserPoint['problem']): ReadonlyMap<string, string> {
  if (problem === undefined) return new Map();
  const known =
    'that of the start of the program, of a second later, and of a moment after the process connects or listens';
  return new Map([[USER_FIELD, `${known}, as changes cannot be followed: ${problem}`]]);
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
