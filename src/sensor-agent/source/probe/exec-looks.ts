/** What /proc says of programs whose exec was seen, some time after it: most have ended by then. */
import { existsSync } from 'node:fs';
import { EXEC_LANE_CPU_BURST_MS, EXEC_LANE_CPU_SHARE } from '../../../limits.js';
import { COMMAND_LINES } from '../command-lines/command-lines.js';
import { EXEC_ENTRY_BYTES_MAX, type ExecEvent, readExecEntry } from '../exec/exec-entry.js';
import { completed, copiedRecord, execRecord, unseenRecord } from '../exec/exec-record.js';
import { ExecVisitor } from '../exec/exec-visit.js';
import { ShortWork } from '../exec/short-work.js';
import type { ExecRecord } from '../source.js';
import type { ExecStack } from './exec-stack.js';

type Exec = Omit<ExecEvent, 'superseded'>;
/** More than a look takes: time beyond that was taken by other programs, and is not charged. */
const LOOK_MS_MAX = 1;

export class ExecLooks {
  readonly #visitor = new ExecVisitor((pid, into) => COMMAND_LINES.read(pid, into));
  readonly #entry = Buffer.alloc(EXEC_ENTRY_BYTES_MAX);
  /** Over this share, programs are not looked up. */
  readonly #work: ShortWork;
  /** A share of its own: however many programs are looked up, none has its arguments cut for it. */
  readonly #completing: ShortWork;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#work = new ShortWork(EXEC_LANE_CPU_SHARE, EXEC_LANE_CPU_BURST_MS, LOOK_MS_MAX, nowMs);
    this.#completing = new ShortWork(EXEC_LANE_CPU_SHARE, EXEC_LANE_CPU_BURST_MS, LOOK_MS_MAX, nowMs);
  }

  /** A copy that was cut, with the rest of the arguments if the program still runs. Its time is dear: nothing else is read. */
  complete(pid: number, stack: ExecStack): ExecStack {
    const cmdline = this.#completing.run(() => this.#visitor.commandLine(pid))?.result;
    return cmdline ? completed(stack, cmdline) : stack;
  }

  /** The record of an exec, with what /proc says of it unless that would cost too much. */
  look(exec: Exec, stack?: ExecStack): ExecRecord {
    // A look-up of each file that is not there would cost ten times as much.
    if (!existsSync(`/proc/${exec.pid}`)) return this.pass(exec, stack, false);
    return this.#work.run(() => this.#visit(exec, stack))?.result ?? this.pass(exec, stack);
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
