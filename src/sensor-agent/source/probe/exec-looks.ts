/** What /proc says of programs whose exec was seen, some time after it: most have ended by then. */
import { existsSync } from 'node:fs';
import { Pacer } from '../../../flow/pacer.js';
import { EXEC_LANE_CPU_BURST_MS, EXEC_LANE_CPU_SHARE } from '../../../limits.js';
import { EXEC_ENTRY_BYTES_MAX, type ExecEvent, readExecEntry } from '../exec/exec-entry.js';
import { completed, copiedRecord, execRecord, unseenRecord } from '../exec/exec-record.js';
import { ExecVisitor } from '../exec/exec-visit.js';
import type { ExecRecord } from '../source.js';
import type { ExecStack } from './exec-stack.js';

type Exec = Omit<ExecEvent, 'superseded'>;
/** More than a look takes: time beyond that was taken by other programs, and is not charged. */
const LOOK_MS_MAX = 1;

/** Looks must not take a core from others: over their share, programs are not looked up. */
class Share {
  readonly #pacer: Pacer;
  readonly #nowMs: () => number;
  #restUntilMs = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#pacer = new Pacer(EXEC_LANE_CPU_SHARE, EXEC_LANE_CPU_BURST_MS, nowMs);
  }

  /** Undefined where it is used up. */
  spend<Result>(look: () => Result): Result | undefined {
    const beganMs = this.#nowMs();
    if (beganMs < this.#restUntilMs) return undefined;
    const result = look();
    const endedMs = this.#nowMs();
    const waitMs = this.#pacer.spend(Math.min(endedMs - beganMs, LOOK_MS_MAX));
    if (waitMs > 0) this.#restUntilMs = endedMs + waitMs;
    return result;
  }
}

export class ExecLooks {
  readonly #visitor = new ExecVisitor();
  readonly #entry = Buffer.alloc(EXEC_ENTRY_BYTES_MAX);
  readonly #share: Share;
  /** A share of its own: however many programs are looked up, none has its arguments cut for it. */
  readonly #restShare: Share;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#share = new Share(nowMs);
    this.#restShare = new Share(nowMs);
  }

  /** A copy that was cut, with the rest of the arguments if the program still runs. Its time is dear: nothing else is read. */
  complete(pid: number, stack: ExecStack): ExecStack {
    return (
      this.#restShare.spend(() => {
        const cmdline = this.#visitor.commandLine(pid);
        return cmdline && completed(stack, cmdline);
      }) ?? stack
    );
  }

  /** The record of an exec, with what /proc says of it unless that would cost too much. */
  look(exec: Exec, stack?: ExecStack): ExecRecord {
    // A look-up of each file that is not there would cost ten times as much.
    if (!existsSync(`/proc/${exec.pid}`)) return this.pass(exec, stack, false);
    return this.#share.spend(() => this.#visit(exec, stack)) ?? this.pass(exec, stack);
  }

  /** The record without a look. `superseded`: there may be a later program of the process. */
  pass(exec: Exec, stack?: ExecStack, superseded = true): ExecRecord {
    if (stack) return unseenRecord(exec, stack);
    const length = this.#visitor.pass({ ...exec, superseded }, this.#entry);
    return execRecord(readExecEntry(this.#entry.subarray(0, length)), false);
  }

  #visit(exec: Exec, stack: ExecStack | undefined): ExecRecord {
    const length = this.#visitor.visit({ ...exec, superseded: false }, this.#entry);
    const entry = readExecEntry(this.#entry.subarray(0, length));
    return stack ? copiedRecord(entry, stack) : execRecord(entry, false);
  }
}
