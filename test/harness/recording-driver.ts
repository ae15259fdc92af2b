/** Drives a recorder as an agent does: random pages, side records, clock steps, crashes. */
import fc from 'fast-check';
import { wholeAnchor } from '../../src/sensor-agent/recorder/anchors.js';
import { Recorder } from '../../src/sensor-agent/recorder/recorder.js';
import type { Origin } from '../../src/sensor-agent/recorder/recording.js';
import { Replay } from '../../src/sensor-agent/recorder/replay.js';
import { Redactor } from '../../src/sensor-agent/redaction/redactor.js';
import { BUILTIN_FORMATS } from '../../src/sensor-agent/source/builtin-formats.js';
import { cgroupOf } from '../../src/sensor-agent/source/cgroups.js';
import { FormatTable } from '../../src/sensor-agent/source/pages/format.js';
import { PageWriter } from '../../src/sensor-agent/source/synthetic/page-writer.js';
import { Timeline } from '../../src/sensor-agent/timeline/timeline.js';
import type { Loss, TimelineInterest, TimelineSink } from '../../src/sensor-agent/timeline/timeline-sink.js';
import type { FileOps } from '../../src/storage/file-ops.js';
import type { BusEvent } from '../../src/wire/event/event.js';
import { positionText } from '../../src/wire/position.js';

/** Events of which none is told, as a kernel has their formats. */
const MOVED = formatText('cgroup_attach_task', 538, [
  'int dst_root;	offset:8;	size:4;	signed:1',
  'int dst_level;	offset:12;	size:4;	signed:1',
  'u64 dst_id;	offset:16;	size:8;	signed:0',
  'int pid;	offset:24;	size:4;	signed:1',
  '__data_loc char[] dst_path;	offset:28;	size:4;	signed:0',
  '__data_loc char[] comm;	offset:32;	size:4;	signed:0',
]);
const BECAME = formatText('commit_creds', 2_000, ['u32 user;	offset:16;	size:4;	signed:0']);

export function formatText(name: string, id: number, fields: readonly string[]): string {
  const common = [
    'unsigned short common_type;	offset:0;	size:2;	signed:0',
    'unsigned char common_flags;	offset:2;	size:1;	signed:0',
    'unsigned char common_preempt_count;	offset:3;	size:1;	signed:0',
    'int common_pid;	offset:4;	size:4;	signed:1',
  ];
  return `name: ${name}\nID: ${id}\nformat:\n${[...common, ...fields].map((field) => `	field:${field};`).join('\n')}\n`;
}

const FORMATS = FormatTable.parse({
  ...BUILTIN_FORMATS.texts(),
  'cgroup/cgroup_attach_task': MOVED,
  'backplane/commit_creds': BECAME,
});

/** How an agent's recording begins. */
export const ORIGIN: Origin = {
  epoch: 7,
  continued: true,
  bootId: 'boot',
  source: 'tracefs',
  formats: BUILTIN_FORMATS.texts(),
  selfPids: [3],
};
/** The same where the kernel tells what changes of processes. */
export const CHANGING: Partial<Origin> = { formats: FORMATS.texts() };

/** When the trace clock was 0, until it is stepped. */
export const WALL_NS = 1_700_000_000_000_000_000n;

export const EVERYTHING: TimelineInterest = { wants: () => true, entryTest: () => true };

/** Remembers what a timeline tells. */
export class Told implements TimelineSink {
  events: string[] = [];
  positions: BusEvent['position'][] = [];
  lost = 0;
  losses: Loss[] = [];
  lateCount = 0;
  event(event: BusEvent): void {
    this.positions.push(event.position);
    const text = JSON.stringify(event, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    this.events.push(`${positionText(event.position)} ${text}`);
  }
  loss(loss: Loss): void {
    this.lost += loss.count;
    this.losses.push(loss);
  }
  late(): void {
    this.lateCount += 1;
  }
}

const entryOf = (what: fc.Arbitrary<string>) =>
  fc.record({
    lane: fc.integer({ min: 0, max: 2 }),
    afterNs: fc.constantFrom(0n, 0n, 1n, 900n, 40_000n),
    pid: fc.integer({ min: 1, max: 12 }),
    what,
    read: fc.constantFrom('at once', 'at once', 'later', 'missed', 'never'),
  });
const TOLD = ['exec', 'exec', 'fork', 'exit', 'rename', 'other'] as const;

const around = {
  lost: fc.constantFrom(0, 0, 0, 5),
  crash: fc.constantFrom(false, false, false, false, true),
  wallStepNs: fc.constantFrom(0n, 0n, 0n, -3_600_000_000_000n, 1_000_000n),
};

/** Events between two drains: the entries of each lane, and how their side records arrive. */
export const recordedStep = fc.record({
  entries: fc.array(entryOf(fc.constantFrom(...TOLD)), { maxLength: 12 }),
  ...around,
});

/** The same, and what changes of processes without an event that is told: by the kernel, or as they are looked at again. */
export const changingStep = fc.record({
  entries: fc.array(entryOf(fc.constantFrom(...TOLD, 'move', 'user')), { maxLength: 12 }),
  looked: fc.option(fc.integer({ min: 1, max: 32 }), { nil: undefined }),
  named: fc.constantFrom('at once' as const, 'at once' as const, 'too late' as const, undefined),
  ...around,
});

type StepOf<Arbitrary> = Arbitrary extends fc.Arbitrary<infer T> ? T : never;
export type RecordedStep = StepOf<typeof recordedStep> & {
  readonly looked?: number | undefined;
  /** When a runtime says what the containers are that came up until now; undefined: not yet. */
  readonly named?: 'at once' | 'too late' | undefined;
};

export class RecordingDriver {
  wallNs = WALL_NS;
  recorder!: Recorder;
  #later: (() => void)[] = [];
  #sequence = 0;

  readonly #origin: Partial<Origin>;
  readonly #dir: string;
  readonly #told: Told | undefined;
  readonly #files: FileOps | undefined;

  /** `told` is told everything; without it nothing is asked for, until a publisher does. */
  constructor(
    dir: string,
    told?: Told,
    files?: FileOps,
    public nowNs = 1_000_000_000n,
    origin: Partial<Origin> = {},
  ) {
    this.#origin = origin;
    this.#dir = dir;
    this.#told = told;
    this.#files = files;
    this.open();
  }

  open(origin: Partial<Origin> = {}): void {
    const options = {
      dir: this.#dir,
      bytesMax: 64 * 1024 * 1024,
      ageMsMax: 1e12,
      segmentBytesMax: 16 * 1024,
      redactor: new Redactor([]),
    };
    this.recorder = new Recorder({ ...options, ...(this.#files && { files: this.#files }) }, this.#told && EVERYTHING);
    this.recorder.timeline.containersKnown.noteUnknown();
    if (this.#told) this.recorder.tellTo(this.#told);
    const { log, timeline } = this.recorder;
    // The epoch can no longer be told, so a later one begins, as an agent does it.
    const lost = timeline.origin.epoch === 0 && log.nextOrdinal > 0;
    const later = lost ? { epoch: ORIGIN.epoch + 1, continued: false } : {};
    this.recorder.begin({ ...ORIGIN, ...this.#origin, ...later, ...origin }, this.#clock());
  }

  /** An entry is read that lies below the horizon. */
  late(what: string): void {
    const writer = new PageWriter(64 * 1024);
    writer.append({ ...traceEvent(what, 7), timeNs: this.recorder.timeline.horizonNs - 1_000n, pid: 7 });
    this.recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  }

  step(given: RecordedStep): void {
    const later = this.#later.splice(0);
    this.wallNs += given.wallStepNs;
    if (given.wallStepNs !== 0n) this.recorder.setClock(this.#clock());
    const byLane = new Map<number, PageWriter>();
    for (const entry of given.entries) {
      this.nowNs += entry.afterNs;
      const writer = byLane.get(entry.lane) ?? new PageWriter(64 * 1024);
      byLane.set(entry.lane, writer);
      writer.append({ ...traceEvent(entry.what, entry.pid), timeNs: this.nowNs, pid: entry.pid });
      if (entry.what === 'exec') this.#read(entry.read, entry.lane, entry.pid, this.nowNs + 700n);
    }
    for (const [lane, writer] of byLane) {
      this.recorder.page({ lane, bytes: writer.take()!, lost: given.lost, lostUnknown: false });
    }
    this.nowNs += 1_000n;
    if (given.looked !== undefined) this.#look(given.looked);
    this.recorder.horizon(this.nowNs);
    // Sources keep a distance, so the next event lies behind the horizon and not at it.
    this.nowNs += 10n;
    for (const act of later) act();
    // As an agent's drain does at its end, before anybody is told or asks.
    this.recorder.settle();
    if (given.named !== undefined) this.nameContainers(given.named === 'at once');
  }

  /** As a killed agent: nothing is closed or flushed, and side records that had not arrived are lost. */
  crash(): void {
    this.#later = [];
    this.open();
  }

  finish(): void {
    for (const act of this.#later.splice(0)) act();
    this.nowNs += 1_000_000_000n;
    this.recorder.horizon(this.nowNs);
    this.recorder.expire(this.nowNs);
    while (this.recorder.timeline.waitingContainer) this.nameContainers(false);
  }

  /** A runtime says what the containers are that came up, or nobody does in time; before the first call there is none. */
  nameContainers(known: boolean): void {
    const { containersKnown, waitingContainer } = this.recorder.timeline;
    const ids = new Set(containersKnown.takeUnknown());
    if (waitingContainer) ids.add(waitingContainer.id);
    const named = (id: string) => ({ id, name: `c-${id.slice(0, 4)}`, image: 'i', pod: 'p', namespace: 'n' });
    this.recorder.containers(
      [...ids].map((id) => (known ? named(id) : { id, unresolved: true })),
      true,
    );
  }

  #clock() {
    return { bootNs: this.nowNs, wallNs: this.wallNs + this.nowNs };
  }

  #look(pid: number): void {
    this.#sequence += 1;
    const { cgroup, containerId, cgroups } = cgroupOf(`3:pids:/p${pid}\n0::/docker/${'0'.repeat(62)}${pid + 10}\n`)!;
    const seen = { pid, uid: this.#sequence, workingDirectory: `/w${this.#sequence}`, tty: 'pts/1', loginUid: 7 };
    this.recorder.snapshot([{ ...seen, cgroup, containerId, cgroups }], true);
  }

  #read(how: string, lane: number, pid: number, timeNs: bigint): void {
    if (how === 'never') return;
    this.#sequence += 1;
    const args = ['/bin/x', `--sequence=${this.#sequence}`];
    const argsTruncated = this.#sequence % 2 === 0;
    const process = { pid, parentPid: 1, comm: 'x', args, argsTruncated, executablePath: `/bin/x${this.#sequence}` };
    const missed = how === 'missed';
    const act = () => this.recorder.exec({ lane, timeNs, pid, missed, ...(missed ? {} : { process }) });
    if (how === 'later') this.#later.push(act);
    else act();
  }
}

export function traceEvent(what: string, pid: number) {
  const format = (name: string) => FORMATS.byName(name)!;
  switch (what) {
    case 'exec':
      return { format: format('sched_process_exec'), values: { filename: `/bin/p${pid}`, pid, old_pid: pid } };
    case 'fork':
      return {
        format: format('task_newtask'),
        values: { pid: pid + 20, comm: 'child', clone_flags: 0n, oom_score_adj: 0 },
      };
    case 'exit':
      return { format: format('sched_process_exit'), values: { comm: 'x', pid, prio: 120, group_dead: true } };
    case 'move':
      return {
        format: format('cgroup_attach_task'),
        values: { pid, dst_root: pid % 4, dst_level: 1, dst_id: 5n, dst_path: `/docker/${'ab'.repeat(32)}`, comm: 'x' },
      };
    case 'user':
      return { format: format('commit_creds'), values: { user: pid + 1_000 } };
    case 'rename':
      return { format: format('task_rename'), values: { pid, oldcomm: 'a', newcomm: 'b', oom_score_adj: 0 } };
    default:
      return { format: format('sys_enter'), values: { id: 1n } };
  }
}

/** The events that a replay tells, of the whole recording or from an anchor on. */
export function replayed(
  recorder: Recorder,
  anchor: number | undefined,
): Told & { damagedBytes: number; evicted: boolean } {
  const told = new Told();
  const whole = anchor === undefined ? undefined : wholeAnchor(recorder.log, anchor);
  const replay = new Replay(recorder.log, whole, new Timeline(EVERYTHING, told));
  while (replay.step(1024));
  replay.close();
  return Object.assign(told, { damagedBytes: replay.damagedBytes, evicted: replay.evicted });
}
