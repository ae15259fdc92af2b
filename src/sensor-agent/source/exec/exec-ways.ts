/** The ways to have the kernel's own copy of a program's arguments. */
import { BackplaneError } from '../../../errors.js';
import { definitionsOf } from '../probe/definitions.js';
import type { ExecPoints } from '../probe/exec-points.js';
import { KERNEL_FUNCTIONS, KernelPoint } from '../probe/kernel-point.js';
import { LinkerPoints } from '../probe/linker-points.js';
import { works } from '../tracefs/instance-controls.js';

export interface ExecWay {
  /** Where the copies are made. */
  readonly name: string;
  /** Throws `failed_precondition` where the kernel has no such probes. */
  readonly points: (tracefs: string, group: string) => ExecPoints;
}

/** In the order in which they are tried: the first that holds is used. */
export const EXEC_WAYS: readonly ExecWay[] = [
  ...KERNEL_FUNCTIONS.map((place) => ({
    name: place.name,
    points: (tracefs: string, group: string) => new KernelPoint(tracefs, group, place),
  })),
  { name: 'dynamic linkers', points: (tracefs, group) => new LinkerPoints(tracefs, group) },
];

/** Whether the kernel has probes for any way. */
export function hasWay(tracefs: string, group: string): boolean {
  return EXEC_WAYS.some((way) => works(() => way.points(tracefs, group)));
}

/** Whether the kernel takes a definition of any way; that stays, for the probe that is made next. */
export function takesWay(tracefs: string, group: string, nowNs: bigint): boolean {
  return EXEC_WAYS.some((way) =>
    works(() => {
      const points = way.points(tracefs, group);
      for (const event of definitionsOf(tracefs, group) ?? []) points.adopt(event, nowNs);
      for (const pid of [process.pid, 1]) points.define(pid, nowNs, () => undefined);
      if (points.events.length === 0) throw new BackplaneError('failed_precondition', 'no program here can be probed');
    }),
  );
}
