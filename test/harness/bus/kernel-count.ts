/** The kernel's own account of execs, from a trace instance that the test makes beside the agent's. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

export interface KernelExec {
  readonly cpu: number;
  readonly pid: number;
  /** Time of the trace clock. */
  readonly timeUs: number;
  readonly filename: string;
}

export class KernelCount {
  #dir: string;

  constructor(name: string) {
    this.#dir = `/sys/kernel/tracing/instances/${name}`;
    mkdirSync(this.#dir);
    this.#write('trace_clock', 'boot');
    this.#write('buffer_size_kb', '16384');
    this.#write('events/sched/sched_process_exec/enable', '1');
  }

  /** Stops counting and returns what was counted, per CPU in order. */
  finish(): KernelExec[] {
    this.#write('events/sched/sched_process_exec/enable', '0');
    const text = readFileSync(`${this.#dir}/trace`, 'utf8');
    const pattern = /\[(\d+)\].*?\s(\d+)\.(\d{6}): sched_process_exec: filename=(.*) pid=(\d+) old_pid/g;
    const execs = Array.from(text.matchAll(pattern), ([, cpu, seconds, micros, filename, pid]) => ({
      cpu: Number(cpu),
      pid: Number(pid),
      timeUs: Number(seconds) * 1_000_000 + Number(micros),
      filename: filename!,
    }));
    this.remove();
    return execs;
  }

  remove(): void {
    try {
      rmdirSync(this.#dir);
    } catch {
      // Already removed.
    }
  }

  #write(file: string, value: string): void {
    writeFileSync(`${this.#dir}/${file}`, value);
  }
}
