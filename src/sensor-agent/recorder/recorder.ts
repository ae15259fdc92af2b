/**
 * The flight recorder: writes what the source delivers to the segment log,
 * undecoded, and feeds the timeline with the same records in the same order.
 * It is the node's outbox too: whatever must be sent again is read from here.
 *
 * The recorder owns its timeline: others read it as a TimelineView. It knows
 * nobody above it; the publisher hands its interest and its sink down.
 *
 *   Source ── page(), exec(), horizon() ──▶ Recorder ── append() ──▶ SegmentLog
 *                                              │ the same records
 *                                              ▼
 *                                           Timeline ── event() ──▶ the sink of the last tellTo()
 *   Publisher ── ask(), tellTo() ──▶ Recorder ── ask(), tellTo() ──▶ Timeline
 */
import { join } from 'node:path';
import { BackplaneError } from '../../errors.js';
import { CONTAINERS_PER_RECORD } from '../../limits/containers.js';
import { EXEC_CONTEXT_WAIT_MS, PAGE_HEADER_BYTES } from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import { type FileOps, nodeFileOps } from '../../storage/file-ops.js';
import { type NewRecord, SegmentLog } from '../../storage/segment-log/segment-log.js';
import type { Redactor } from '../redaction/redactor.js';
import { type LaneCursor, PageEntries, startCursor } from '../source/pages/page.js';
import type { ClockPair, ExecRecord, ProcessSnapshot, QueryRecord, SourcePage } from '../source/source.js';
import { FilePaths } from '../timeline/paths/file-paths.js';
import type { OpenedFiles } from '../timeline/paths/opened-file.js';
import { type LookNotes, ProcessLooks } from '../timeline/process-looks.js';
import { Timeline } from '../timeline/timeline.js';
import { NOTHING_ASKED, type TimelineInterest, type TimelineSink } from '../timeline/timeline-sink.js';
import type { TimelineView } from '../timeline/timeline-view.js';
import { wholeAnchors } from './anchors.js';
import { checkpointIntervalBytes } from './checkpoint.js';
import { packExecs } from './exec-records.js';
import { Hole } from './hole.js';
import { HoleFlag } from './hole-flag.js';
import {
  clockBytes,
  horizonBytes,
  type Origin,
  packRecord,
  pageHead,
  type RecordedContainer,
  type RecordedExec,
  type RecordedLoss,
  type RecordedNotice,
  RecordKind,
} from './recording.js';
import { Replay } from './replay.js';
import { lengthOf, PART_CHARACTERS, snapshotParts } from './snapshot-length.js';
import { UnrecordedStretch } from './unrecorded-stretch.js';

/**
 * Bounds that keep PATHS, QUERIES, EXEC and SNAPSHOT records small however many files were opened, names asked for, and
 * processes there are.
 */
const PATHS_PER_RECORD = 64;
const QUERIES_PER_RECORD = 64;
const EXECS_PER_RECORD = 256;

export interface RecorderOptions {
  readonly dir: string;
  readonly bytesMax: number;
  readonly ageMsMax: number;
  readonly segmentBytesMax?: number;
  readonly files?: FileOps;
  /** Masks secrets in what is read beside the pages, before it is written. */
  readonly redactor: Redactor;
}

export class Recorder {
  readonly log: SegmentLog;
  readonly redactor: Redactor;
  /** Fed with everything that is recorded. */
  readonly #timeline: Timeline;
  entriesRecorded = 0;
  entriesLost = 0;
  /** How often entries were lost, each time some or an unknown number. */
  losses = 0;
  /** Entries that the disk had no room for. */
  entriesUnrecorded = 0;
  #cursors = new Map<number, LaneCursor>();
  #entries = new PageEntries();
  /** Bytes written since the last checkpoint, and the size of that checkpoint. */
  #sinceCheckpointBytes = 0;
  #checkpointBytes = 0;
  #lost = { count: 0, unknown: false };
  /** Set once an append was refused: nothing more is recorded until the hole itself can be recorded. */
  #hole: Hole | undefined;
  /** Holes that are over and recorded, but not told as events yet. */
  #closed: Hole[] = [];
  /** Side records of execs that came one behind the other: they are written together, before anything else. */
  #execs: RecordedExec[] = [];
  #execsCharacters = 0;
  readonly #holeFlag: HoleFlag;
  readonly #unrecorded: UnrecordedStretch;
  #noticeNs = 0n;
  /** The last horizon that was recorded. */
  #horizonNs = 0n;
  readonly #filePaths = new FilePaths();
  readonly #opened: OpenedFiles;
  readonly #looks = new ProcessLooks();
  #lookNotes: LookNotes | undefined;

  /**
   * Opens the recording and brings the timeline to where it was left, telling nobody. Throws when the log cannot be
   * opened. `interest`: what is asked for already, so that entries that wait at the recording's end are noted.
   */
  constructor(options: RecorderOptions, interest: TimelineInterest = NOTHING_ASKED) {
    this.redactor = options.redactor;
    const timeline = new Timeline(interest);
    this.#timeline = timeline;
    this.log = SegmentLog.open({
      dir: options.dir,
      bytesMax: options.bytesMax,
      ageMsMax: options.ageMsMax,
      ...(options.segmentBytesMax === undefined ? {} : { segmentBytesMax: options.segmentBytesMax }),
      ...(options.files === undefined ? {} : { files: options.files }),
      head: () => (timeline.origin.epoch > 0 ? this.#checkpointRecords() : []),
    });
    this.#holeFlag = new HoleFlag(options.files ?? nodeFileOps, join(options.dir, 'hole'));
    this.#unrecorded = new UnrecordedStretch({ hole: this.#holeFlag.leftRaised, end: this.log.foundEnd });
    const [newest] = wholeAnchors(this.log);
    const replay = new Replay(this.log, newest, timeline);
    while (replay.step(Number.MAX_SAFE_INTEGER));
    replay.close();
    this.#opened = timeline.noteOpened();
  }

  get timeline(): TimelineView {
    return this.#timeline;
  }

  /** Replaces what is asked of the timeline: see Timeline.ask. */
  ask(interest: TimelineInterest): void {
    this.settle();
    this.#timeline.ask(interest);
  }

  /** Tells the timeline's events to another sink; undefined: to nobody. */
  tellTo(sink: TimelineSink | undefined): void {
    this.settle();
    this.#timeline.tellTo(sink);
  }

  get id(): string {
    return this.log.identity;
  }

  get hole(): Hole | undefined {
    return this.#hole;
  }

  begin(given: Origin, clock: ClockPair): void {
    this.settle();
    this.#unrecorded.begin(this.#timeline, given);
    const { origin: before, closed } = this.#timeline;
    // If the previous agent was not closed and this one does not continue it, events that the kernel recorded meanwhile
    // and nobody read are missing.
    const unread = given.source === 'tracefs' || before.epoch !== given.epoch;
    const torn = !given.continued && !closed && before.epoch > 0 && unread;
    const origin = { ...given, unclosed: torn || given.unclosed };
    const ordinal = this.#pack(RecordKind.ORIGIN, clock.wallNs, origin);
    this.#timeline.begin(origin, ordinal);
    this.#horizonNs = 0n;
    this.setClock(clock);
    if (!origin.continued) this.#cursors.clear();
    // Losses that the previous agent left open end here; this agent states its own.
    for (const { stated } of this.#timeline.openLosses) this.lose({ ...stated, goesOn: false }, clock.bootNs);
    this.#stateUnsaid(clock.bootNs);
    this.#checkpoint();
  }

  page(page: SourcePage): void {
    this.settle();
    let cursor = this.#cursors.get(page.lane);
    if (!cursor) {
      cursor = startCursor();
      this.#cursors.set(page.lane, cursor);
    }
    const entries = this.#entries;
    this.#timeline.scan(page.bytes, cursor, entries);
    if (page.lost > 0 || page.lostUnknown) {
      this.losses += 1;
      this.entriesLost += page.lost;
      this.#lost.count += page.lost;
      this.#lost.unknown ||= page.lostUnknown;
    }
    if (this.#checkpointDue) this.#checkpoint();
    this.#stateHorizon(entries);
    const parts = [pageHead(page, entries.firstTie), page.bytes];
    const ordinal = this.#append(
      { kind: RecordKind.PAGE, timeNs: this.#wall(entries.baseTimeNs), parts },
      entries.entries,
    );
    if (!this.#hole) this.entriesRecorded += entries.entries;
    else this.#hole.add(page.lost, page.lostUnknown);
    this.#timeline.page(page, entries, ordinal);
  }

  /** States that an unknown number of events up to `nowNs` of the trace clock were not recorded. */
  unrecorded(nowNs: bigint): void {
    this.settle();
    const bytes = Buffer.alloc(PAGE_HEADER_BYTES);
    // An empty page, as the kernel leaves where everything was overwritten, with a time beyond all that was told.
    bytes.writeBigUInt64LE(nowNs > this.#timeline.horizonNs ? nowNs + 1n : this.#timeline.horizonNs + 2n);
    const page = { lane: 0, bytes, lost: 0, lostUnknown: true };
    const entries = new PageEntries();
    this.#timeline.scan(bytes, startCursor(), entries);
    const parts = [pageHead(page, 0), bytes];
    const ordinal = this.#append({ kind: RecordKind.PAGE, timeNs: this.#wall(nowNs), parts });
    this.#hole?.add(0, true);
    this.#timeline.page(page, entries, ordinal);
  }

  /** Records that a loss begins or is over, at `nowNs` or as soon after as order allows. */
  lose(loss: Omit<RecordedLoss, 'timeNs'>, nowNs: bigint): void {
    this.settle();
    const { horizonNs } = this.#timeline;
    const record = { ...loss, timeNs: nowNs > horizonNs ? nowNs : horizonNs + 1n };
    const ordinal = this.#pack(RecordKind.LOSS, this.#wall(record.timeNs), record);
    this.#hole?.add(0, true);
    this.#timeline.lose(record, ordinal);
  }

  /** Records that events of these types are about to be switched on, at `nowNs` or as soon after as order allows. */
  switchOn(types: readonly string[], nowNs: bigint): void {
    this.settle();
    const { horizonNs } = this.#timeline;
    const record = { types, timeNs: nowNs > horizonNs ? nowNs : horizonNs + 1n };
    const ordinal = this.#pack(RecordKind.SWITCH, this.#wall(record.timeNs), record);
    this.#timeline.switchedOn(record, ordinal);
  }

  /**
   * Records the horizon only while events wait for it, so that a quiet machine writes nothing. Skipped entries count as
   * waiting: a replay with another interest may hold them until this horizon. `readOn`: as SourceSink has it; without it
   * nothing is told of where descriptors lead to.
   */
  horizon(horizonNs: bigint, readOn?: () => boolean): void {
    this.settle();
    if (readOn) this.#readPaths(horizonNs, readOn);
    this.#lookAgain();
    const { pending, passedOverNs } = this.#timeline;
    if (pending > 0 || (passedOverNs > 0n && passedOverNs >= this.#horizonNs)) {
      this.#horizonNs = horizonNs;
      this.#append({ kind: RecordKind.HORIZON, timeNs: this.#wall(horizonNs), parts: [horizonBytes(horizonNs)] });
    }
    this.#timeline.horizon(horizonNs);
  }

  /** Records the horizon before a page with late entries, so that a replay treats them as late too. */
  #stateHorizon({ entries, firstTimeNs }: PageEntries): void {
    const horizonNs = this.#timeline.horizonNs + 1n;
    if (entries === 0 || firstTimeNs >= horizonNs || horizonNs <= this.#horizonNs) return;
    this.#horizonNs = horizonNs;
    this.#append({ kind: RecordKind.HORIZON, timeNs: this.#wall(horizonNs), parts: [horizonBytes(horizonNs)] });
  }

  /** Records the paths of files opened in earlier pages; called before the horizon, which lets their events be told. */
  #readPaths(nowNs: bigint, readOn: () => boolean): void {
    const { losses } = this;
    const paths = this.#filePaths.read(this.#opened, nowNs, () => readOn() && this.losses === losses);
    for (let at = 0; at < paths.length; at += PATHS_PER_RECORD) {
      const record = { paths: paths.slice(at, at + PATHS_PER_RECORD) };
      this.#pack(RecordKind.PATHS, this.#wall(nowNs), record);
      this.#timeline.paths(record);
    }
  }

  /** From here on processes of this machine that the recording knows are looked at again: see ProcessLooks. */
  noteProcesses(): void {
    this.#lookNotes = this.#timeline.noteProcesses();
  }

  /** Called before the horizon, which lets their events be told. */
  #lookAgain(): void {
    const toLookAt = this.#lookNotes?.take();
    if (toLookAt) this.snapshot(this.#looks.read(toLookAt, performance.now()), true);
  }

  /** Taken by the timeline with those that follow at once: at the latest at the drain's end, see settle(). */
  exec(record: ExecRecord): void {
    const { lane, timeNs, pid, missed } = record;
    const process = record.process && this.redactor.redact(record.process);
    this.#execs.push({ lane, timeNs, pid, missed, process });
    this.#execsCharacters += process ? lengthOf(process) : 0;
    if (this.#execs.length === EXECS_PER_RECORD || this.#execsCharacters > PART_CHARACTERS) this.settle();
  }

  /** Records the execs that came last. */
  settle(): void {
    if (this.#execs.length === 0) return;
    const execs = this.#execs;
    this.#execs = [];
    this.#execsCharacters = 0;
    const parts = [packExecs(execs)];
    const ordinal = this.#append({ kind: RecordKind.EXEC, timeNs: this.#wall(execs[0]!.timeNs), parts });
    this.#timeline.execs(execs, ordinal);
  }

  /** Records what datagrams in earlier pages asked; called before the horizon, which lets their events be told. */
  queries(queries: readonly QueryRecord[]): void {
    this.settle();
    for (let at = 0; at < queries.length; at += QUERIES_PER_RECORD) {
      const part = queries.slice(at, at + QUERIES_PER_RECORD);
      const redacted = ({ question }: QueryRecord) => (question ? this.redactor.redactQuestion(question) : {});
      const record = { queries: part.map((query) => ({ ...query, ...redacted(query) })) };
      this.#pack(RecordKind.QUERIES, this.#wall(part.at(-1)!.timeNs), record);
      this.#timeline.queries(record);
    }
  }

  /** Records what containers are; `asked`: see RecordedContainers. */
  containers(found: readonly RecordedContainer[], asked: boolean): void {
    this.settle();
    for (let at = 0; at === 0 || at < found.length; at += CONTAINERS_PER_RECORD) {
      const gone = this.#timeline.containersKnown.surplus();
      const record = { asked, containers: found.slice(at, at + CONTAINERS_PER_RECORD), gone };
      const ordinal = this.#pack(RecordKind.CONTAINERS, this.#timeline.clock.wallNs, record);
      this.#timeline.containers(record, ordinal);
    }
  }

  setClock(clock: ClockPair): void {
    this.settle();
    const ordinal = this.#append({ kind: RecordKind.CLOCK, timeNs: clock.wallNs, parts: [clockBytes(clock)] });
    this.#timeline.setClock(clock, ordinal);
  }

  /** `again`: see RecordedSnapshot. */
  snapshot(processes: readonly ProcessSnapshot[], again = false): void {
    this.settle();
    for (const part of snapshotParts(processes)) {
      const redacted = part.map((process) => this.redactor.redact(process));
      this.#snapshot(redacted, again);
    }
  }

  #snapshot(processes: readonly ProcessSnapshot[], again: boolean): void {
    const snapshot = again ? ({ processes, again } as const) : { processes };
    const ordinal = this.#pack(RecordKind.SNAPSHOT, this.#timeline.clock.wallNs, snapshot);
    this.#timeline.snapshot(snapshot, ordinal);
  }

  /** A host.* event, at `nowNs` of the trace clock or as soon after as order allows. */
  notice(type: RecordedNotice['type'], notice: RecordedNotice['notice'], nowNs: bigint): void {
    this.settle();
    for (const floor of [this.#timeline.horizonNs, this.#noticeNs]) if (nowNs <= floor) nowNs = floor + 1n;
    this.#noticeNs = nowNs;
    const record: RecordedNotice = { type, timeNs: nowNs, tie: 0, notice };
    const ordinal = this.#pack(RecordKind.NOTICE, this.#wall(nowNs), record);
    this.#timeline.notice(record, ordinal);
  }

  /**
   * Releases execs whose side record did not come in time, as they hold back all later events, and where too much waits
   * also what waits for a container. `drainedNs`: when the
   * drain before the last one began; the record of an exec that was there by then has come if it ever does.
   */
  expire(nowNs: bigint, drainedNs = nowNs): void {
    this.settle();
    for (;;) {
      const { waitingExec: exec, waitingContainer: container, crowded } = this.#timeline;
      const overdue = exec && nowNs - exec.timeNs > msToNs(EXEC_CONTEXT_WAIT_MS) && exec.timeNs < drainedNs;
      if (exec && (overdue || crowded)) this.#execs.push({ ...exec, missed: true });
      else if (container && crowded) this.containers([{ id: container.id, unresolved: true }], true);
      else return;
      this.settle();
    }
  }

  /**
   * States the loss that an earlier agent left unstated; while the disk still refuses, the present hole takes it in.
   */
  #stateUnsaid(nowNs: bigint): void {
    const { loss } = this.#unrecorded;
    if (!loss) return;
    this.#timeline.taken.stated(loss);
    if (!this.#hole) this.lose(loss, nowNs);
    else this.#hole.add(0, true);
    this.#unrecorded.stated();
  }

  /**
   * Tells of losses since the last call, once that can be recorded: otherwise live subscribers would see a notice that
   * history lacks. Called at most once a second.
   */
  reportLoss(source: string, nowNs: bigint): void {
    this.settle();
    this.#checkPlace();
    if (!this.#closeHole()) return;
    const unsaid = this.#unrecorded.takeStated();
    if (unsaid) this.notice('host.loss', { ...unsaid, source }, nowNs);
    if (!this.#hole) this.#holeFlag.lower();
    const { count, unknown } = this.#lost;
    if (count > 0 || unknown) {
      this.#lost = { count: 0, unknown: false };
      const few = `the kernel overwrote ${count} events before they could be read`;
      const message = unknown ? `${few}, or more, or what came could not be read` : few;
      this.notice('host.loss', { reason: 'kernel_overrun', message, lost: count, lostUnknown: unknown, source }, nowNs);
    }
    const closed = this.#closed.splice(0);
    for (const { reason, message, lost } of closed) {
      this.notice('host.degraded', { reason, message: `for a while ${message}`, source }, nowNs);
      if (lost > 0) this.notice('host.loss', { reason, message, lost, source }, nowNs);
    }
  }

  async close(): Promise<void> {
    this.settle();
    this.#timeline.close();
    this.#checkpoint();
    this.#holeFlag.close();
    await this.log.close();
  }

  #wall(timeNs: bigint): bigint {
    return this.#timeline.wallNs(timeNs);
  }

  /**
   * Ends the hole if there is room for its record and a checkpoint; false while there is not. A replay never sees the
   * hole's events: the checkpoint lets it tell later events with the same context and time.
   */
  #closeHole(): boolean {
    const hole = this.#hole;
    if (!hole) return true;
    const timeline = this.#timeline;
    const end = timeline.end;
    const ended = hole.endingAt(end);
    this.#hole = undefined;
    this.#pack(RecordKind.HOLE, this.#wall(end.timeNs), ended);
    if (this.#hole) {
      this.#hole = hole;
      return false;
    }
    this.#closed.push(hole);
    timeline.interrupt();
    this.#checkpoint();
    return this.#hole === undefined;
  }

  /**
   * A checkpoint of tens of thousands of processes is large, so the interval grows with its size: checkpoints must not
   * become most of the recording.
   */
  get #checkpointDue(): boolean {
    return this.#sinceCheckpointBytes > checkpointIntervalBytes(this.#checkpointBytes);
  }

  #checkpoint(): void {
    for (const record of this.#checkpointRecords()) this.#append(record);
    this.#sinceCheckpointBytes = 0;
  }

  #checkpointRecords(): NewRecord[] {
    this.#sinceCheckpointBytes = 0;
    // In a new epoch nothing has been told yet, so the clock's wall time is used.
    const { clock, frontier } = this.#timeline;
    const timeNs = frontier.timeNs === 0n ? clock.wallNs : this.#wall(frontier.timeNs);
    const records = this.#timeline.checkpoint(this.log.nextOrdinal).map((part) => ({
      kind: RecordKind.CHECKPOINT,
      timeNs,
      anchor: part.head !== undefined,
      parts: [packRecord(part)],
    }));
    this.#checkpointBytes = records.reduce((sum, { parts: [part] }) => sum + part!.length, 0);
    return records;
  }

  #pack(kind: number, timeNs: bigint, value: Parameters<typeof packRecord>[0]): number {
    return this.#append({ kind, timeNs, parts: [packRecord(value)] });
  }

  /**
   * A full disk stops the recording, never the agent: the events still reach
   * the timeline, and the loss is stated as soon as there is room for it.
   */
  #append(record: NewRecord, entries = 0): number {
    if (!this.#hole) {
      for (const part of record.parts) this.#sinceCheckpointBytes += part.length;
      try {
        return this.log.append(record);
      } catch (cause) {
        this.#openHole(cause);
      }
    }
    this.#hole?.add(entries, false);
    this.entriesUnrecorded += entries;
    return this.log.nextOrdinal;
  }

  #openHole(cause: unknown): void {
    if (!(cause instanceof BackplaneError)) throw cause;
    this.#holeFlag.raise();
    this.#hole = new Hole(this.#timeline.frontier, cause);
  }

  /** Opens a hole if the log's files are gone from their place: on a quiet machine no append would find that out. */
  #checkPlace(): void {
    try {
      if (!this.#hole) this.log.checkPlace();
    } catch (cause) {
      this.#openHole(cause);
    }
  }
}
