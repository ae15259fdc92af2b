/**
 * Where the kernel copies what an exec has written. Each way has definitions of its own (definitions.ts), and is used
 * only when a program of ours came back whole.
 *
 *   KernelPoint   one, in the kernel: every 64-bit program, before the exec is noted
 *   LinkerPoints  one in each dynamic linker: the programs that it starts, behind the exec
 */
export interface ExecPoints {
  readonly by: 'kprobe' | 'uprobe';
  /** `group/event` of those that are there. */
  readonly events: readonly string[];
  /**
   * Goes on with a definition that an earlier agent left; false where it is none of these. Their names say where they are
   * and what they fetch, so that nothing has to be removed, and erased with it, when an agent starts again.
   */
  adopt(event: string, nowNs: bigint): boolean;
  /**
   * Defines what a process's program needs and has not. `record` is called with each `group/event` and throws where it
   * cannot be recorded, which takes it back. Throws what the kernel says where no other program could be copied either.
   * Returns whether the exec of that program, at a time of the trace clock, should have been copied.
   */
  define(pid: number, nowNs: bigint, record: (event: string) => void): (timeNs: bigint) => boolean;
  /** The same for a program that has ended, by the name that it was started by. */
  seek(filename: string, nowNs: bigint, record: (event: string) => void): void;
  /**
   * The same for programs of roots that were mounted since it was last called, before they begin, where that keeps
   * nothing busy. `nowMs`: monotonic, as `startedMs`: when a program was last seen to start.
   */
  prepare(nowMs: number, nowNs: bigint, startedMs: number, record: (event: string) => void): void;
  /** Whether it is on a filesystem that comes and goes, which its definition keeps busy. */
  isForeign(event: string): boolean;
  /** It copied an exec at that time of the trace clock. */
  used(event: string, timeNs: bigint): void;
  /** Those that no process needs any more. */
  unused(nowNs: bigint): string[];
  /** Called before they are removed: whether other programs were copied by one of them, and need another. */
  leave(events: readonly string[]): boolean;
  /** Processes by which other files are found than those that have definitions: see define(). */
  replaced(): number[];
  /** Its event must be off and no entry of it unread. False where the kernel keeps it: somebody else has it on. */
  remove(event: string): boolean;
}
