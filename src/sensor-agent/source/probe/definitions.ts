/**
 * Dynamic events of this recorder in `dynamic_events`, which has kprobes and uprobes. The file is everybody's: it is
 * opened for appending only, as truncating it removes every tool's definitions. A definition outlives whoever made it,
 * so its group carries the recorder's identity, by which the next agent, or `up`, finds and removes it.
 */
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const FILE = 'dynamic_events';

/** The group of a recorder's definitions; names of groups have no dash. */
export function probeGroup(recorderId: string): string {
  return `backplane_${recorderId.replaceAll('-', '_')}`;
}

const RECORDED = '_recorded';

/** The group of those whose entries are recorded. */
export function recordedGroup(recorderId: string): string {
  return probeGroup(recorderId) + RECORDED;
}

const TRIAL = '_trial';

/**
 * The group of those that are being proved, so that what an agent leaves in the other groups was proved. They are never
 * on in an instance that is read: removing them erases nothing.
 */
export function trialGroup(recorderId: string): string {
  return probeGroup(recorderId) + TRIAL;
}

const QUERIES = '_queries';

/** The group of those that copy datagrams. */
export function queriesGroup(recorderId: string): string {
  return probeGroup(recorderId) + QUERIES;
}

/** The trace instance that has these. */
export function queriesName(recorderId: string): string {
  return `backplane-${recorderId}-queries`;
}

/** The instance without which a group's events are on nowhere, with underscores for its dashes. */
export function instanceOf(group: string): string {
  const suffix = [RECORDED, QUERIES, TRIAL].find((each) => group.endsWith(each));
  return suffix === undefined ? `${group}_exec` : group.slice(0, -suffix.length);
}

/**
 * Defines `group/event` in a function of the kernel, or at an offset of a file, `PATH:0xOFFSET`; throws what the kernel
 * says.
 */
export function define(tracefs: string, event: string, place: string, fetch: string): void {
  append(tracefs, `p:${event} ${place} ${fetch}\n`);
}

/**
 * Removes `group/event`, and with it every unread entry of each instance where it was ever enabled: drain those first.
 * False where it is in use, or was not there.
 */
export function undefine(tracefs: string, event: string): boolean {
  try {
    append(tracefs, `-:${event}\n`);
    return true;
  } catch {
    return false;
  }
}

/** Removes those of a group that are not in use. */
export function undefineAll(tracefs: string, group: string): void {
  for (const event of definitionsOf(tracefs, group) ?? []) undefine(tracefs, event);
}

/** `group/event` of all definitions of a group, whoever made them. */
export function definitionsOf(tracefs: string, group: string): string[] | undefined {
  return allDefinitions(tracefs)?.filter((event) => event.startsWith(`${group}/`));
}

/** Those of all groups, whoever made them; undefined where the file cannot be read. */
export function allDefinitions(tracefs: string): string[] | undefined {
  const found = allDefined(tracefs);
  return found && [...found.keys()];
}

/**
 * The same, each with what it is: `PLACE FETCH`, the words of which the kernel gives back as they were written. Where
 * somebody has put several in one event, all of them.
 */
export function allDefined(tracefs: string): ReadonlyMap<string, string> | undefined {
  let text: string;
  try {
    text = readFileSync(join(tracefs, FILE), 'utf8');
  } catch {
    return undefined;
  }
  const found = new Map<string, string>();
  for (const [, event = '', what = ''] of text.matchAll(/^[a-z]\d*:(\S+\/\S+)(?: (.*))?$/gm)) {
    const before = found.get(event);
    found.set(event, before === undefined ? what : `${before}; ${what}`);
  }
  return found;
}

/** An event's name, `group/event`, and what may be defined under it, `PLACE FETCH`: one of these. */
export type DefinedAs = readonly [event: string, what: readonly string[]];

function append(tracefs: string, line: string): void {
  const fd = openSync(join(tracefs, FILE), constants.O_WRONLY | constants.O_APPEND);
  try {
    writeSync(fd, line);
  } finally {
    closeSync(fd);
  }
}
