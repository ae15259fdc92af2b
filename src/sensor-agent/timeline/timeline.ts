/**
 * Turns what was recorded, record by record, into one stream of typed events in
 * position order: merges the lanes up to the horizon, joins each exec with its
 * side record, follows process context, waits for what a new container is. Live and replay feed the same records
 * in the same order and therefore get the same events.
 *
 * A timeline calls nobody but its sink. Its feeder (the Recorder live, a Replay
 * from disk) is the only one that changes it; everybody else has a TimelineView.
 *
 *   Recorder | Replay ── page(), execs(), horizon() … ─▶ Timeline ── event(), loss(), late() ──▶ TimelineSink
 *                     ── ask(), tellTo()             ──▶
 */
import { TIMELINE_PENDING_EVENTS_MAX } from '../../limits.js';
import type { BusEvent } from '../../wire/event/event.js';
import { AGENT_LANE, comparePositions, type Position, TIE_MAX } from '../../wire/position.js';
import { EntrySelection } from '../interest/entry-selection.js';
import { type Checkpoint, type CheckpointHead, checkpointParts, restoreTables } from '../recorder/checkpoint.js';
import type {
  Origin,
  RecordedContainers,
  RecordedExec,
  RecordedHole,
  RecordedNotice,
  RecordedPaths,
  RecordedQueries,
  RecordedSnapshot,
  RecordedSwitch,
} from '../recorder/recording.js';
import { TakenEntries } from '../recorder/taken-entries.js';
import { type EventFormat, FormatTable } from '../source/pages/format.js';
import { type LaneCursor, type PageEntries, scanPage } from '../source/pages/page.js';
import type { ClockPair, SourcePage } from '../source/source.js';
import type { ContainerTable } from './containers/container-table.js';
import { ExecJoin } from './exec-join.js';
import { KernelEvents, TYPED_TRACE_EVENTS } from './kernel-events.js';
import { OpenLosses } from './open-losses.js';
import { Failures } from './order/failures.js';
import {
  addPaths,
  addQueries,
  decodedEntry,
  type EntryPlace,
  NO_TRACE,
  type Pending,
  takeUpTo,
} from './order/pending.js';
import { OpenedFiles } from './paths/opened-file.js';
import { LookNotes } from './process-looks.js';
import { type Loss, NOTHING_ASKED, type TimelineInterest, type TimelineSink } from './timeline-sink.js';
import { WallClock } from './wall-clock.js';

const EXEC = 'sched_process_exec';
const NO_ORIGIN: Origin = { epoch: 0, bootId: '', source: '', formats: {}, selfPids: [], continued: false };

export class Timeline {
  /** Of events, told as losses. */
  readonly failures = new Failures();
  readonly taken = new TakenEntries();
  #kernel = new KernelEvents();
  #execs = new ExecJoin();
  #formats = new Map<number, EventFormat>();
  /** Events not yet below the horizon, per lane in order. */
  #lanes = new Map<number, Pending[]>();
  /** Events below the horizon, in position order; the first may wait for its side record. */
  #ready: Pending[] = [];
  #readyAt = 0;
  #pending = 0;
  #closed = false;
  /** Trace-clock time up to which events have moved from #lanes to #ready. */
  #horizonNs = 0n;
  #frontier: Position = { epoch: 0, timeNs: 0n, lane: 0, tie: 0 };
  #origin: Origin = NO_ORIGIN;
  readonly #clock = new WallClock();
  /** The restored checkpoint's ordinal and position, while records from before it are read again. */
  #restored: { ordinal: number; position: Position } | undefined;
  readonly #losses = new OpenLosses();
  readonly #selection = new EntrySelection();
  /** Undefined when nobody looks up their paths. */
  #opened: OpenedFiles | undefined;
  /** Undefined when nobody looks at processes again. */
  #lookNotes: LookNotes | undefined;
  /** Pages that may hold skipped entries beyond the frontier. */
  #scanned: { readonly ordinal: number; readonly lastNs: bigint }[] = [];

  #interest = NOTHING_ASKED;
  #sink: TimelineSink | undefined;
  /** Without a sink no event is worth building. */
  readonly #wants = (type: string): boolean => this.#sink !== undefined && this.#interest.wants(type);

  /** Until it is asked and given a sink, a timeline follows context and tells nobody. */
  constructor(interest: TimelineInterest = NOTHING_ASKED, sink?: TimelineSink) {
    this.ask(interest);
    this.#sink = sink;
  }

  /** Replaces the interest: which entries are noted from the next page on, and which types are built when told. */
  ask(interest: TimelineInterest): void {
    this.#interest = interest;
    this.#kernel.ask(interest);
    this.#selection.renew(interest);
  }

  /** Tells another sink from here on; undefined: nobody. Entries are noted as asked all the same. */
  tellTo(sink: TimelineSink | undefined): void {
    this.#sink = sink;
  }

  get origin(): Origin {
    return this.#origin;
  }

  /** Every event up to here has been told. */
  get frontier(): Position {
    return this.#frontier;
  }

  get clock(): ClockPair {
    return this.#clock.pair;
  }

  /** Types whose entries are skipped unless asked for, as no context follows from them. */
  get skippableTypes(): readonly string[] {
    return this.#selection.types;
  }

  /** Events that wait for the horizon or for a side record. */
  get pending(): number {
    return this.#pending;
  }

  /** Losses that were told and go on. */
  get openLosses(): OpenLosses['all'] {
    return this.#losses.all;
  }

  /** Whether the agent that recorded last was stopped, so that nothing is missing at the end. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Marks the recording's end as whole, for the checkpoint that follows. */
  close(): void {
    this.#closed = true;
  }

  /** Trace-clock time up to which entries beyond the frontier may have been skipped; 0n: none. */
  get passedOverNs(): bigint {
    return this.#scanned.reduce((newest, { lastNs }) => (lastNs > newest ? lastNs : newest), 0n);
  }

  /** Whether something waits to be joined with what no checkpoint has. */
  get joins(): boolean {
    return this.#kernel.paths.waits || this.#kernel.calls.waits;
  }

  /** The trace event of entries that scan() notes. */
  nameOf(id: number): string | undefined {
    return this.#formats.get(id)?.name;
  }

  get horizonNs(): bigint {
    return this.#horizonNs;
  }

  /** See WallClock.readWallNs. */
  readonly readWallNs = () => this.#clock.readWallNs;

  /** Wall time of a trace-clock time: non-decreasing in position order although clocks are stepped. */
  wallNs(timeNs: bigint): bigint {
    return this.#clock.wallNs(timeNs);
  }

  /**
   * Begins an agent's recording. Unless it continues the previous one, the known context no longer holds and is
   * dropped.
   */
  begin(origin: Origin, ordinal: number): void {
    if (this.#readsAgain(ordinal)) return;
    if (!origin.continued) {
      this.interrupt();
      this.#kernel.clear();
      this.#scanned = [];
    }
    const before = this.#frontier;
    this.#closed = false;
    this.taken.begin(origin);
    if (origin.epoch !== this.#origin.epoch) {
      this.#clock.restart();
      this.#horizonNs = 0n;
      this.#frontier = { epoch: origin.epoch, timeNs: 0n, lane: 0, tie: 0 };
    }
    this.#setOrigin(origin);
    if (origin.unclosed) this.#sink?.loss({ count: 0, unknown: true }, this.#frontier, before);
    const { processes, sockets } = this.#kernel;
    for (const pid of origin.selfPids) processes.ensure(pid).self = true;
    for (const [endpoint, pid] of [...(origin.listeners ?? []), ...(origin.selfSockets?.listeners ?? [])])
      sockets.listening(endpoint, processes.ensure(pid));
  }

  /** Finds the entries of a page that page() is to take. */
  scan(bytes: Buffer, cursor: LaneCursor, entries: PageEntries): void {
    scanPage(bytes, this.#selection.wanted, cursor, entries, this.#selection.tests);
  }

  /** Takes the entries that scan() found in the page. */
  page(page: SourcePage, entries: PageEntries, ordinal: number): void {
    if (entries.entries > 0) this.#noteRead(entries.lastTimeNs, ordinal);
    if (!this.#readsAgain(ordinal)) this.taken.recorded(entries.entries);
    if (this.#selection.formats.length > 0 && entries.entries > 0)
      this.#scanned.push({ ordinal, lastNs: entries.lastTimeNs });
    if (page.lost > 0 || page.lostUnknown) this.#addLoss(page, entries.baseTimeNs, ordinal);
    for (let at = 0; at < entries.count; at += 1) {
      const format = this.#formats.get(entries.ids[at]!);
      if (!format) continue;
      const offset = entries.offsets[at]!;
      const length = entries.lengths[at]!;
      const place = { timeNs: entries.timeNs(at), lane: page.lane, tie: entries.ties[at]!, ordinal };
      try {
        const event = decodedEntry(place, format, page.bytes, offset, length);
        this.#opened?.note(event);
        this.#lookNotes?.entry(event);
        this.#kernel.noteContainer(event);
        this.#add(event);
      } catch (cause) {
        const loss = this.failures.lossOf(format.name, this.#positionOf(place), cause);
        this.#add({ ...NO_TRACE, ...place, loss });
      }
    }
  }

  /** Begins to note the files that pages open. */
  noteOpened(): OpenedFiles {
    this.#opened = new OpenedFiles(this.#kernel.processes);
    return this.#opened;
  }

  /** Begins to note the processes that may have to be looked at again. */
  noteProcesses(): LookNotes {
    this.#lookNotes = new LookNotes(this.#kernel.processes);
    return this.#lookNotes;
  }

  /** Adds paths to events of opened files that are not told yet; called after their pages and before their horizon. */
  paths(record: RecordedPaths): void {
    addPaths(this.#lanes, record);
  }

  /** Adds what datagrams asked to their entries, as paths() does. */
  queries(record: RecordedQueries): void {
    addQueries(this.#lanes, record);
  }

  /** Gives the loss a position of its own, after everything that is older than the page, so that it is counted once. */
  #addLoss(page: SourcePage, baseTimeNs: bigint, ordinal: number): void {
    const loss = { count: page.lost, unknown: page.lostUnknown };
    this.#add({ ...NO_TRACE, timeNs: baseTimeNs - 1n, lane: AGENT_LANE, tie: TIE_MAX - 1, ordinal, loss });
  }

  /** Takes a stated loss, which is told at the record's time, when it was noticed. */
  lose(stated: NonNullable<Loss['stated']>, ordinal: number): void {
    const { events } = stated;
    if (!this.#readsAgain(ordinal)) this.taken.stated(stated);
    const loss = { count: events ?? 0, unknown: events === undefined, stated };
    this.#add({ ...NO_TRACE, timeNs: stated.timeNs, lane: AGENT_LANE, tie: TIE_MAX - 1, ordinal, loss });
  }

  /** Events of these types were off: what was under way is not joined with what comes. */
  switchedOn({ types, timeNs }: RecordedSwitch, ordinal: number): void {
    this.#add({ ...NO_TRACE, timeNs, lane: AGENT_LANE, tie: TIE_MAX - 1, ordinal, switchedOn: types });
  }

  notice(notice: RecordedNotice, ordinal: number): void {
    const { timeNs, tie } = notice;
    this.#add({ ...NO_TRACE, timeNs, lane: AGENT_LANE, tie, ordinal, notice });
  }

  execs(records: readonly RecordedExec[], ordinal: number): void {
    // Not added when read again: the checkpoint has the side records that no exec had taken by then.
    if (!this.#readsAgain(ordinal))
      for (const record of records) {
        this.#execs.add(record);
        this.#kernel.containers.seen(record.process?.containerId);
      }
    this.#advance();
  }

  /** What containers are, of which the first event may wait for that. */
  containers(record: RecordedContainers, ordinal: number): void {
    if (!this.#readsAgain(ordinal)) this.#kernel.containers.take(record);
    this.#advance();
  }

  /** No event below `horizonNs` follows. */
  horizon(horizonNs: bigint): void {
    if (horizonNs - 1n > this.#horizonNs) this.#horizonNs = horizonNs - 1n;
    this.#gather();
    this.#advance();
  }

  setClock(pair: ClockPair, ordinal: number): void {
    if (this.#readsAgain(ordinal)) return;
    this.#clock.set(pair);
  }

  snapshot({ processes, again }: RecordedSnapshot, ordinal: number): void {
    if (this.#readsAgain(ordinal)) return;
    for (const process of processes) {
      this.#kernel.processes.seen(process, this.#clock.pair, again === true);
      this.#kernel.containers.seen(process.containerId);
    }
  }

  /** The position at which interrupt() would leave the frontier. */
  get end(): Position {
    let timeNs = this.#horizonNs;
    for (const lane of this.#lanes.values()) {
      const last = lane.at(-1);
      if (last && last.timeNs > timeNs) timeNs = last.timeNs;
    }
    return { epoch: this.#origin.epoch, timeNs, lane: AGENT_LANE, tie: TIE_MAX };
  }

  /**
   * Called at a hole in the recording: tells everything that waits, so that the next checkpoint needs nothing before
   * it.
   */
  interrupt(): void {
    this.#horizonNs = this.end.timeNs;
    this.#gather();
    this.#advance(false);
    this.#execs.clear();
    this.passedOver();
  }

  /** Records are missing from here on: nothing is joined with what came before. */
  passedOver(): void {
    this.#kernel.interrupt();
  }

  /** Takes a stretch that the disk refused: its loss is told after everything that waits. */
  hole({ from, to, lost, lostUnknown, reason = 'disk_full', message = 'the disk had no room' }: RecordedHole): void {
    this.interrupt();
    const stated = { reason, from, timeNs: to.timeNs, goesOn: false, message };
    if (lost > 0 || lostUnknown) this.#sink?.loss({ count: lost, unknown: lostUnknown, stated }, to, from);
  }

  /** The exec that holds back all later events because its side record is missing, if there is one. */
  get waitingExec(): { lane: number; timeNs: bigint; pid: number } | undefined {
    const first = this.#ready[this.#readyAt];
    if (first?.name !== EXEC || this.#sideRecord(first)) return undefined;
    return { lane: first.lane, timeNs: first.timeNs, pid: Number(first.values['pid']) };
  }

  /** The container whose event holds back all later events because nothing is recorded of it, if there is one. `ordinal`: of the record with that event. */
  get waitingContainer(): { id: string; timeNs: bigint; ordinal: number } | undefined {
    const first = this.#ready[this.#readyAt];
    const id = first && this.#kernel.awaits(first, this.#sideRecord(first)?.record);
    return id === undefined ? undefined : { id, timeNs: first!.timeNs, ordinal: first!.ordinal };
  }

  /** To be read; records alone change it. */
  get containersKnown(): Pick<ContainerTable, 'asked' | 'surplus' | 'noteUnknown' | 'takeUnknown'> {
    return this.#kernel.containers;
  }

  /** True when so much waits that nothing more should wait for side records. */
  get crowded(): boolean {
    return this.#pending > TIMELINE_PENDING_EVENTS_MAX;
  }

  /**
   * Everything needed to go on from here by reading the log from `nextOrdinal`, or from the first record still pending.
   */
  checkpoint(nextOrdinal: number): Checkpoint[] {
    let resumeOrdinal = nextOrdinal;
    const waiting = [...this.#lanes.values(), this.#scanned, this.#ready.slice(this.#readyAt)];
    for (const some of waiting) for (const { ordinal } of some) resumeOrdinal = Math.min(resumeOrdinal, ordinal);
    const head: CheckpointHead = {
      origin: this.#origin,
      position: this.#frontier,
      wallNs: this.wallNs(this.#frontier.timeNs),
      ...this.#clock.save(),
      resumeOrdinal,
      ...(this.#closed ? { closed: true } : {}),
      entriesTaken: this.taken.count,
      ...this.#losses.save(),
    };
    return checkpointParts(head, this.#kernel, this.#execs.save());
  }

  /** Goes on from a checkpoint: feed the records from its resumeOrdinal. */
  restore(head: CheckpointHead, parts: readonly Checkpoint[], ordinal: number): void {
    this.#setOrigin(head.origin);
    this.#clock.restore(head);
    this.#closed = head.closed === true;
    this.taken.count = head.entriesTaken;
    this.#losses.load(head.losses);
    this.#frontier = head.position;
    // Events of the same time but after the position are still to be read again, so the horizon stays below that time.
    this.#horizonNs = head.resumeOrdinal < ordinal ? head.position.timeNs - 1n : head.position.timeNs;
    this.#restored = { ordinal, position: head.position };
    this.#execs.clear();
    // Earlier versions wrote no execs.
    for (const part of parts) for (const record of part.execs ?? []) this.#execs.add(record);
    restoreTables(parts, this.#kernel);
  }

  /** Called before restore() where the feeder goes back to the records of what waits: it is read again. */
  forgetWaiting(): void {
    this.#lanes.clear();
    this.#scanned = [];
    [this.#ready, this.#readyAt, this.#pending] = [[], 0, 0];
  }

  #setOrigin(origin: Origin): void {
    this.#origin = origin;
    this.#formats.clear();
    const table = FormatTable.parse(origin.formats);
    this.#kernel.recordedWith(table, origin);
    this.#selection.begin(table, TYPED_TRACE_EVENTS, this.#interest);
    const formats = [...TYPED_TRACE_EVENTS.map((name) => table.byName(name)), ...this.#selection.formats];
    for (const format of formats) if (format) this.#formats.set(format.id, format);
  }

  /** Whether a record is older than the restored checkpoint, which already has its effects. */
  #readsAgain(ordinal: number): boolean {
    return this.#restored !== undefined && ordinal < this.#restored.ordinal;
  }

  #positionOf({ timeNs, lane, tie }: EntryPlace): Position {
    return { epoch: this.#origin.epoch, timeNs, lane, tie };
  }

  #noteRead(timeNs: bigint, ordinal: number): void {
    if (!this.#readsAgain(ordinal)) this.#clock.read(timeNs);
  }

  #add(event: Pending): void {
    const place = this.#positionOf(event);
    if (this.#readsAgain(event.ordinal)) {
      if (comparePositions(place, this.#restored!.position) <= 0) return;
    } else if (event.timeNs <= this.#horizonNs) {
      this.#tellLate(event, place);
      return;
    }
    this.#noteRead(event.timeNs, event.ordinal);
    const lane = this.#lanes.get(event.lane);
    if (lane) lane.push(event);
    else this.#lanes.set(event.lane, [event]);
    this.#pending += 1;
  }

  /**
   * Takes an event that comes too late for its place in the stream: context still follows it. The agent's own notices
   * are never late.
   */
  #tellLate(event: Pending, place: Position): void {
    if (event.loss) this.#lose(event.loss, this.#frontier, this.#frontier);
    try {
      const typed = event.name === '' ? undefined : this.#follow(event, place);
      if (typed) this.#sink?.late(typed, this.#frontier);
    } catch (cause) {
      this.#lose(this.failures.lossOf(event.name, place, cause), this.#frontier, this.#frontier);
    }
  }

  /** Moves events that are not beyond the horizon from every lane to #ready. */
  #gather(): void {
    const batch = takeUpTo(this.#horizonNs, this.#lanes);
    if (batch.length === 0) return;
    this.#ready = this.#readyAt === this.#ready.length ? batch : this.#ready.slice(this.#readyAt).concat(batch);
    this.#readyAt = 0;
  }

  /** Tells what is ready, up to the first that waits: an exec for its side record, or any for what its container is. */
  #advance(mayWait = true): void {
    for (; this.#readyAt < this.#ready.length; this.#readyAt += 1) {
      const event = this.#ready[this.#readyAt]!;
      const found = this.#sideRecord(event);
      if (mayWait && event.name === EXEC && !found) return;
      if (mayWait && this.#kernel.awaits(event, found?.record) !== undefined) return;
      this.#tell(event, found && this.#execs.take(found));
    }
    this.#ready = [];
    this.#readyAt = 0;
    const end = { epoch: this.#origin.epoch, timeNs: this.#horizonNs, lane: AGENT_LANE, tie: TIE_MAX };
    if (comparePositions(end, this.#frontier) > 0) this.#frontier = end;
    this.#execs.prune(this.#frontier.timeNs);
    if (this.#scanned.length > 0) this.#scanned = this.#scanned.filter((page) => page.lastNs >= this.#frontier.timeNs);
  }

  #sideRecord({ name, lane, timeNs, values }: Pending) {
    return name === EXEC ? this.#execs.find(lane, Number(values['pid']), timeNs) : undefined;
  }

  #tell(event: Pending, exec: RecordedExec | undefined): void {
    const position = this.#positionOf(event);
    this.#pending -= 1;
    if (event.loss) this.#lose(event.loss, position);
    if (event.switchedOn) this.#kernel.switchedOn(new Set(event.switchedOn));
    this.#frontier = position;
    try {
      const typed = event.notice ? this.#notice(event.notice, position) : this.#follow(event, position, exec);
      if (typed) this.#sink?.event(typed);
    } catch (cause) {
      this.#lose(this.failures.lossOf(event.name || (event.notice?.type ?? ''), position, cause), position);
    }
  }

  #lose(loss: Loss, position: Position, from?: Position): void {
    if (loss.stated) this.#losses.follow(loss.stated);
    this.#kernel.interrupt();
    this.#sink?.loss(loss, position, from);
  }

  #follow(event: Pending, position: Position, exec?: RecordedExec) {
    return this.#kernel.follow(event, { position, wallNs: this.wallNs(event.timeNs) }, exec, this.#wants);
  }

  #notice({ type, notice }: RecordedNotice, position: Position): BusEvent | undefined {
    const wallNs = this.wallNs(position.timeNs);
    return this.#wants(type) ? { type, topic: 'host', position, wallNs, notice } : undefined;
  }
}
