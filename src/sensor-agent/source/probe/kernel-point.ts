/**
 * A probe in the kernel (Documentation/trace/kprobetrace.rst): one for all 64-bit programs, static ones and containers'
 * too, in a function that runs when an exec has written the new stack. Its pages are resident, since the kernel has just
 * written them. The exec is noted behind it.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Architecture, OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { BackplaneError } from '../../../errors.js';
import { atLink } from '../places.js';
import { kernelTypes } from './btf.js';
import { define, undefine } from './definitions.js';
import { readExecutable } from './elf.js';
import type { ExecPoints } from './exec-points.js';
import { fetchArguments, fetchDigest } from './probe-layout.js';

/** Behind it: the function, and what is fetched. */
const NAME = 'kernel_exec_';

export function isKernelPoint(event: string): boolean {
  return event.includes(`/${NAME}`);
}

/** A function of the kernel, and where it is handed the new stack's address. */
export interface KernelFunction {
  readonly name: string;
  /** As a fetch argument, of the arguments' registers; undefined where the kernel does not say where that is. */
  readonly stack: (argument: Architecture['registers']) => string | undefined;
}

/**
 * In the order in which they are tried. `start_thread` is handed the address; it is inlined on arm64. `finalize_exec` is
 * handed a structure that has it, `bprm->p`, at another place in each kernel.
 */
export const KERNEL_FUNCTIONS: readonly KernelFunction[] = [
  { name: 'start_thread', stack: ([, , stack]) => stack },
  {
    name: 'finalize_exec',
    stack: ([binary]) => {
      const offset = kernelTypes()?.offset('linux_binprm', 'p');
      return offset === undefined ? undefined : `+${offset}(${binary})`;
    },
  },
];

export class KernelPoint implements ExecPoints {
  readonly by = 'kprobe';
  readonly events: string[] = [];
  readonly #architecture: Architecture;
  readonly #tracefs: string;
  readonly #group: string;
  readonly #function: KernelFunction;
  #sinceNs = 0n;
  /** Asked once for all programs, as it costs. */
  #refusal: Error | undefined;

  /** Throws `failed_precondition` where there are no kprobes. */
  constructor(tracefs: string, group: string, { name, stack }: KernelFunction) {
    if (OWN_ARCHITECTURE === undefined || !existsSync(join(tracefs, 'kprobe_events')))
      throw new BackplaneError('failed_precondition', `this kernel has no kprobes on ${process.arch}`);
    this.#architecture = OWN_ARCHITECTURE;
    this.#tracefs = tracefs;
    this.#group = group;
    this.#function = { name, stack };
  }

  adopt(event: string, nowNs: bigint): boolean {
    const address = isKernelPoint(event) ? this.#function.stack(this.#architecture.registers) : undefined;
    if (address === undefined || event !== this.#event(address)) return false;
    this.events.push(event);
    this.#sinceNs = nowNs;
    return true;
  }

  define(pid: number, nowNs: bigint, record: (event: string) => void): (timeNs: bigint) => boolean {
    if (this.events.length === 0) this.#defineOnce(nowNs, record);
    return (timeNs) => this.#sinceNs < timeNs && atLink(pid, 'exe', readExecutable)?.machine === this.#architecture.elf;
  }

  #defineOnce(nowNs: bigint, record: (event: string) => void): void {
    if (this.#refusal) throw this.#refusal;
    try {
      this.#define(nowNs, record);
    } catch (cause) {
      this.#refusal = cause as Error;
      throw cause;
    }
  }

  #define(nowNs: bigint, record: (event: string) => void): void {
    const { name, stack } = this.#function;
    const address = stack(this.#architecture.registers);
    if (address === undefined)
      throw new BackplaneError('failed_precondition', `the kernel does not say where ${name} has the stack`);
    const event = this.#event(address);
    define(this.#tracefs, event, name, fetchArguments(address));
    this.events.push(event);
    try {
      record(event);
    } catch (cause) {
      this.remove(event);
      throw cause;
    }
    this.#sinceNs = nowNs;
  }

  #event(stack: string): string {
    return `${this.#group}/${NAME}${this.#function.name}_${fetchDigest(fetchArguments(stack))}`;
  }

  seek(): void {}

  prepare(): void {}

  isForeign(): boolean {
    return false;
  }

  used(): void {}

  unused(): string[] {
    return [];
  }

  leave(): boolean {
    return false;
  }

  replaced(): number[] {
    return [];
  }

  remove(event: string): boolean {
    const at = this.events.indexOf(event);
    if (at >= 0) this.events.splice(at, 1);
    this.#refusal = undefined;
    return undefine(this.#tracefs, event);
  }
}
