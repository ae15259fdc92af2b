/**
 * What depends on the architecture of the machine that events are of, as data: a new architecture is a file beside this
 * one. Errors, signals and all other numbers are the same on those that are here.
 */
import { ARM64 } from './arm64.js';
import type { Names } from './tables.js';
import { X64 } from './x64.js';

export interface Architecture {
  /** What programs of it have in `e_machine` (ELF). */
  readonly elf: number;
  /** Of a function's arguments, as the kernel's fetch arguments name them. */
  readonly registers: readonly [string, string, string, string, string];
  /** Dynamic linkers where most distributions have them. */
  readonly linkers: readonly string[];
  /** System calls by number; those of 32-bit programs have others, which no trace event tells apart. */
  readonly calls: Names;
  /** Of ptrace(2), those that not all have. */
  readonly traceRequests: Names;
  /** Of open(2), those whose values differ. */
  readonly openFlags: Readonly<Record<'O_DIRECT' | 'O_LARGEFILE' | 'O_DIRECTORY' | 'O_NOFOLLOW', number>>;
}

/** By Node's `process.arch`. */
export const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, Architecture>>> = { x64: X64, arm64: ARM64 };

/** This machine's; undefined where it is none of those. */
export const OWN_ARCHITECTURE = ARCHITECTURES[process.arch];

/** The name of a system call; empty where its number is not known. */
export function syscallName(id: bigint, architecture = OWN_ARCHITECTURE): string {
  return architecture?.calls.get(id) ?? '';
}

/** The number of a system call; undefined where there is none of that name. */
export function syscallNumber(name: string, architecture = OWN_ARCHITECTURE): number | undefined {
  const [number] = [...(architecture?.calls ?? [])].find(([, each]) => each === name) ?? [];
  return number === undefined ? undefined : Number(number);
}

/** The only one on which a call has this number; undefined where there are several, or none. */
export function architectureOf(call: string, id: bigint): Architecture | undefined {
  const [found, ...others] = Object.values(ARCHITECTURES).filter(({ calls }) => calls.get(id) === call);
  return others.length === 0 ? found : undefined;
}
