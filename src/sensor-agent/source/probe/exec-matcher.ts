/**
 * Joins execs with the kernel's copies of their stacks. Both are entries of one instance: an exec and, from the same
 * process, the copy. A probe in the kernel makes it before the exec is noted, one at the program's first instruction
 * behind that. Lanes are read one after the other: only up to the horizon is the order of their entries known.
 *
 *   exec ──▶ copied             by a copy that the kernel made since the process's exec before
 *     └────▶ open ──▶ copied    by a copy later than it and earlier than the process's next exec
 *              ├────▶ replaced  by the process's next exec: whatever is read of the process now belongs to that
 *              └────▶ alone     has waited through a whole drain, and nothing is to come: its program has no probe
 */

export interface SeenExec {
  readonly lane: number;
  readonly timeNs: bigint;
  readonly pid: number;
  readonly filename: string;
}

export interface SeenCopy<Copy> {
  readonly timeNs: bigint;
  readonly pid: number;
  readonly copy: Copy;
  /** Made before its exec was noted. */
  readonly first: boolean;
}

export interface Matched<Exec, Copy> {
  readonly exec: Exec;
  readonly copy: Copy | undefined;
  /** When the process started another program, where that is known already: what is read of it since is that one's. */
  readonly replacedNs: bigint | undefined;
}

/** Bounds what is kept of processes. */
const KEPT_MAX = 4_096;

export class ExecMatcher<Exec extends SeenExec, Copy> {
  #seen: ({ readonly exec: Exec } | { readonly copied: SeenCopy<Copy> })[] = [];
  /** By pid: waits for its copy, since before the last drain if `waited`. */
  readonly #open = new Map<number, { readonly exec: Exec; waited: boolean }>();
  /** By pid: made, for an exec that is noted next. */
  readonly #first = new Map<number, SeenCopy<Copy>>();
  #interrupted = false;
  /** By pid: when it last started a program, for execs that become visible late. */
  readonly #latest = new Map<number, bigint>();

  /** Whether something that was seen is not told yet. */
  get waits(): boolean {
    return this.#open.size > 0 || this.#seen.length > 0;
  }

  exec(exec: Exec): void {
    this.#seen.push({ exec });
  }

  copied(copied: SeenCopy<Copy>): void {
    this.#seen.push({ copied });
  }

  /** Entries were lost: what waits may have been followed by an exec that nobody saw, whose copy is the next. */
  interrupt(): void {
    this.#interrupted = true;
  }

  /**
   * Ends a drain: of what came before `horizonNs` all is there. `tell` gets each exec once, when all is known that will
   * be; `waits` those that wait for the next drain. `isToCome`: whether one that has waited is to wait on.
   */
  settle(
    horizonNs: bigint,
    tell: (matched: Matched<Exec, Copy>) => void,
    waits: (exec: Exec) => void,
    isToCome: (exec: Exec) => boolean = () => false,
  ): void {
    if (this.#interrupted) {
      for (const pid of [...this.#open.keys()]) this.#release(pid, undefined, tell);
      this.#first.clear();
      this.#seen = this.#seen.filter((one) => !isFirst(one));
      this.#interrupted = false;
    }
    const seen = this.#seen.filter((one) => timeOf(one) < horizonNs).sort((a, b) => compare(timeOf(a), timeOf(b)));
    this.#seen = this.#seen.filter((one) => timeOf(one) >= horizonNs);
    for (const one of seen) {
      if ('exec' in one) this.#exec(one.exec, tell);
      else this.#copied(one.copied, tell);
    }
    for (const [pid, open] of this.#open) {
      if (open.waited) {
        if (isToCome(open.exec)) continue;
        this.#open.delete(pid);
        tell({ exec: open.exec, copy: undefined, replacedNs: undefined });
      } else {
        open.waited = true;
        waits(open.exec);
      }
    }
  }

  /** Gives up all that wait: nothing more is read. */
  end(tell: (matched: Matched<Exec, Copy>) => void): void {
    const last = this.#seen.reduce((latest, one) => (timeOf(one) > latest ? timeOf(one) : latest), 0n);
    this.settle(last + 1n, tell, () => undefined);
    for (const { exec } of this.#open.values()) tell({ exec, copy: undefined, replacedNs: undefined });
    this.#open.clear();
  }

  #exec(exec: Exec, tell: (matched: Matched<Exec, Copy>) => void): void {
    const { pid, timeNs } = exec;
    const latest = this.#latest.get(pid);
    if (latest !== undefined && latest > timeNs) {
      tell({ exec, copy: undefined, replacedNs: latest });
      return;
    }
    this.#latest.delete(pid);
    this.#latest.set(pid, timeNs);
    if (this.#latest.size > KEPT_MAX) this.#latest.delete(this.#latest.keys().next().value!);
    this.#release(pid, timeNs, tell);
    const first = this.#first.get(pid);
    if (first !== undefined) {
      this.#first.delete(pid);
      tell({ exec, copy: first.copy, replacedNs: undefined });
      return;
    }
    if (this.#open.size >= KEPT_MAX) this.#release(this.#open.keys().next().value!, undefined, tell);
    this.#open.set(pid, { exec, waited: false });
  }

  #release(pid: number, replacedNs: bigint | undefined, tell: (matched: Matched<Exec, Copy>) => void): void {
    const open = this.#open.get(pid);
    this.#open.delete(pid);
    if (open) tell({ exec: open.exec, copy: undefined, replacedNs });
  }

  #copied(copied: SeenCopy<Copy>, tell: (matched: Matched<Exec, Copy>) => void): void {
    const { pid, timeNs, copy } = copied;
    if (copied.first) {
      this.#first.delete(pid);
      this.#first.set(pid, copied);
      if (this.#first.size > KEPT_MAX) this.#first.delete(this.#first.keys().next().value!);
      return;
    }
    const open = this.#open.get(pid);
    if (open === undefined || open.exec.timeNs > timeNs) return;
    this.#open.delete(pid);
    tell({ exec: open.exec, copy, replacedNs: undefined });
  }
}

/** Its exec may be what was lost. */
function isFirst(one: { readonly exec: SeenExec } | { readonly copied: { readonly first: boolean } }): boolean {
  return 'copied' in one && one.copied.first;
}

function timeOf(one: { readonly exec: SeenExec } | { readonly copied: { readonly timeNs: bigint } }): bigint {
  return 'exec' in one ? one.exec.timeNs : one.copied.timeNs;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
