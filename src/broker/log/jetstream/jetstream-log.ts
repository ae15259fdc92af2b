/** A partition log on a stream of NATS JetStream. Offsets are the stream's sequences. */
import type { StreamInfo } from '@nats-io/jetstream';
import { BackplaneError, cursorExpired, cursorInvalid } from '../../../errors.js';
import {
  LOG_BODIES_LINGER_MS,
  LOG_CHECKPOINT_BYTES,
  LOG_STREAM_LOOK_MS,
  NATS_REQUEST_MS,
  TICK_MS,
} from '../../../limits.js';
import type { Frame } from '../../../wire/frame/frame.js';
import type { Position } from '../../../wire/position.js';
import { timeNsOf } from '../../../wire/typed/json-values.js';
import type { NatsLink } from '../../nats/nats-link.js';
import type { ReaderTimes } from '../../nats/ordered-reader.js';
import { checkStream, NATS_NS_PER_MS, type StreamForm } from '../../nats/stream-form.js';
import { checkHeard, madeStream, storedMessage, streamInfo } from '../../nats/stream-leader.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import type { CoveredPositions } from '../covered-positions.js';
import type { LogEntry, LogItem, LogLoss, PartitionLog, PartitionReader, Silence, Snapshot } from '../partition-log.js';
import { markOf } from '../tail/marks.js';
import { StreamTail } from '../tail/stream-tail.js';
import { type AppendBounds, Appender } from './appender.js';
import { CatchUpReader } from './catch-up-reader.js';
import type { CatchUpTurns } from './catch-up-turns.js';
import { type Standing, standingAt, writeCheckpoint } from './checkpoint.js';
import { LostPlaces } from './lost-places.js';
import { type FoldListener, frameItem, PartitionFold } from './partition-fold.js';
import { scanStream } from './scan.js';
import { scannedCovers } from './scanned-covers.js';
import { readSilences, Silences } from './silences.js';
import { partitionForm } from './streams.js';
import { PartitionSubjects, partitionStream } from './subjects.js';

export interface JetStreamLogOptions {
  readonly cluster: string;
  readonly partition: number;
  /** Names this broker among those of the cluster. */
  readonly broker: string;
  readonly link: NatsLink;
  readonly bounds: AppendBounds;
  readonly turns: CatchUpTurns;
  /** The stream is gone, or is not the one that was; the log does not go on. */
  readonly onLost: (cause: BackplaneError) => void;
  /** The stream lost what it had from an offset on; frames that were acknowledged may be missing. */
  readonly onRewound: (log: PartitionLog, offset: number) => void;
  /** Other times than the usual, for tests. */
  readonly times?: Partial<ReaderTimes & { readonly tickMs: number }> | undefined;
}

interface Follower {
  readonly listener: (entry: LogEntry) => void;
  readonly lost: ((loss: LogLoss) => void) | undefined;
  readonly silent: ((silence: Silence, offset: number) => void) | undefined;
}

/** So many checkpoints fit into what a partition may hold, at least. */
const CHECKPOINTS_MIN = 8;

export class JetStreamLog implements PartitionLog {
  readonly partition: number;
  readonly isRemote = true;
  /** Of the cluster: cursors carry it. */
  identity = '';
  readonly #options: JetStreamLogOptions;
  readonly #stream: string;
  readonly #subjects: PartitionSubjects;
  readonly #form: StreamForm;
  readonly #fold: PartitionFold;
  readonly #tail: StreamTail;
  readonly #appender: Appender;
  readonly #followers = new Set<Follower>();
  readonly #silences = new Silences();
  readonly #lostPlaces: LostPlaces;
  readonly #growing: ((bytes: number) => void)[] = [];
  /** Whether frames are read with their bodies: while somebody follows, and for some time after. */
  #withBodies = false;
  /** Whether the consumer gives them. */
  #readsBodies = false;
  #lingering: NodeJS.Timeout | undefined;
  readonly #timers: NodeJS.Timeout[] = [];
  #state: StreamInfo['state'] | undefined;
  #bytesMax = 0;
  #ageMsMax = 0;
  #writing: Promise<void> | undefined;
  #closed = false;

  /**
   * Resolves when the log has read all that there is. Rejects with failed_precondition where the stream is not there or not
   * as `cluster init` makes it, unavailable where NATS does not answer.
   */
  static async open(options: JetStreamLogOptions): Promise<JetStreamLog> {
    const log = new JetStreamLog(options);
    try {
      await log.#open();
      return log;
    } catch (cause) {
      await log.close();
      throw cause;
    }
  }

  private constructor(options: JetStreamLogOptions) {
    const { cluster, partition, link, bounds } = options;
    this.#options = options;
    this.partition = partition;
    this.#stream = partitionStream(cluster, partition);
    this.#subjects = new PartitionSubjects(cluster, partition);
    this.#form = partitionForm(cluster, partition);
    this.#fold = new PartitionFold(this.#subjects);
    this.#lostPlaces = new LostPlaces(link.asking, cluster, this, this.#fold.marks);
    const whole: FoldListener = {
      withBodies: true,
      stored: (frame) => this.#stored(frame),
      ticked: (tick) => this.#ticked(tick),
      sent: ({ subject, data }) => this.#appender.sent(subject, data),
      tell: (item) => this.#tell(item),
    };
    const heads = { ...whole, withBodies: false };
    this.#tail = new StreamTail({
      ...{ link, stream: this.#stream, times: options.times, hasTicks: true },
      place: () => this.#fold,
      check: (info) => this.#check(info),
      headersOnly: () => {
        this.#readsBodies = this.#withBodies;
        return !this.#readsBodies;
      },
      take: (message, isLeaders) =>
        this.#fold.take(message, (isLeaders ? this.#withBodies : this.#readsBodies) ? whole : heads),
      goBack: (info, lost) => this.#goBack(info, lost),
      rewound: (offset) => this.#rewound(offset),
      lost: options.onLost,
    });
    this.#appender = new Appender({
      ...{ link, stream: this.#stream, bounds },
      readUpTo: (sequence, deadlineMs) => this.#tail.readUpTo(sequence, deadlineMs),
      coveredTo: (subject) => {
        const read = this.#subjects.read(subject);
        return read.kind === 'frame' ? this.coveredTo(read.node, read.topic) : undefined;
      },
      isKept: () => this.#tail.isKept(),
    });
  }

  /** Why the log is not read, in a sentence; undefined while it is. */
  get trouble(): string | undefined {
    return this.#tail.trouble;
  }

  /** Behind the oldest checkpoint, since how far nodes reached before is not known once a part of the log is gone. */
  get firstOffset(): number {
    const first = this.#state?.first_seq ?? 1;
    if (first <= 1) return 1;
    return Math.max(first, this.#fold.checkpoints.oldest?.before ?? first);
  }

  get deliverableOffset(): number {
    return this.#tail.deliverable;
  }

  get bytes(): number {
    return this.#state?.bytes ?? 0;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  /** The offset before which messages are in the older half of what the stream may hold, by size or age. */
  get fading(): number {
    const { firstOffset } = this;
    if (this.#state === undefined) return firstOffset;
    const { bytes, first_ts: firstTime } = this.#state;
    const older = 1 - this.#bytesMax / 2 / Math.max(1, bytes);
    const aged = this.#ageMsMax > 0 ? 1 - this.#ageMsMax / 2 / Math.max(1, Date.now() - Date.parse(firstTime)) : 0;
    return firstOffset + Math.floor(Math.max(0, older, aged) * (this.deliverableOffset - firstOffset));
  }

  append(node: string, frame: Frame, frameBytes: Buffer): Promise<number> {
    return this.#appender.append(this.#subjects.frame(frame.topic, node), frame, frameBytes);
  }

  async appendNote(bytes: Buffer): Promise<number> {
    const sequence = await this.#publish(this.#subjects.note, bytes);
    await this.#tail.readUpTo(sequence, performance.now() + 10 * NATS_REQUEST_MS);
    return sequence;
  }

  async readNote(offset: number): Promise<Buffer | undefined> {
    if (offset < 1 || offset >= this.deliverableOffset) return undefined;
    const found = await this.#message(offset);
    return found !== null && found.subject === this.#subjects.note ? Buffer.from(found.data) : undefined;
  }

  async probe(): Promise<void> {
    await this.#publish(this.#subjects.tick(this.#options.broker), Buffer.alloc(0));
  }

  async settled(): Promise<void> {
    await this.#appender.settled();
    await this.#writing;
  }

  nodes(): Iterable<string> {
    return this.#fold.covered.nodes();
  }

  coveredTo(node: string, topic: string): Position | undefined {
    return this.#fold.covered.to(node, topic);
  }

  snapshot(): Snapshot {
    return { offset: this.#fold.next, covered: this.#fold.covered.copy() };
  }

  async coveredBefore(offset: number): Promise<CoveredPositions> {
    const where = `of partition ${this.partition}`;
    if (offset > this.deliverableOffset) await this.#await(offset);
    const end = this.snapshot();
    if (offset === end.offset) return end.covered;
    const recent = offset < this.firstOffset || offset > this.#fold.next ? undefined : this.#fold.coversBefore(offset);
    if (recent !== undefined) return recent;
    await this.look();
    const { firstOffset: oldest } = this;
    if (offset < oldest) throw cursorExpired(`cursor names offset ${offset} ${where}, the oldest is ${oldest}`, oldest);
    const { link } = this.#options;
    const scanned = { link, stream: this.#stream, subjects: this.#subjects };
    return scannedCovers(scanned, await this.#standingAt(offset, oldest), offset, end, `offset ${offset} ${where}`);
  }

  lostBefore(offset: number, mark: number): Snapshot | undefined {
    const lost = this.#fold.lostBefore(offset, mark);
    return lost === undefined || lost.offset < this.firstOffset ? undefined : lost;
  }

  othersLostBefore(offset: number, mark: number): Promise<Snapshot | undefined> {
    return this.#lostPlaces.ofOthers(offset, mark);
  }

  /**
   * Another broker may have read further than this one. Rejects with cursor_invalid where there is no such offset, unavailable
   * where that is not certain.
   */
  async #await(offset: number): Promise<void> {
    const { next } = this.#fold;
    const info = await this.look();
    // A server that has just started may not know it yet.
    if (info === undefined) throw new BackplaneError('unavailable', `stream ${this.#stream} was not found`);
    if (offset > info.state.last_seq + 1) {
      checkHeard(info);
      // Others may have read it before it was lost: they are asked once it is known what this broker had read of that.
      this.#tail.checkKept(info, next);
      throw cursorInvalid(`cursor names offset ${offset} of partition ${this.partition}, which does not exist`);
    }
    await this.#tail.readUpTo(offset - 1, performance.now() + 3 * NATS_REQUEST_MS);
  }

  get isGoingBack(): boolean {
    return this.#tail.rewinds === undefined;
  }

  markBefore(offset: number): number | undefined {
    return this.#fold.markBefore(offset);
  }

  async hasMark(offset: number, mark: number): Promise<boolean> {
    if (offset > this.deliverableOffset) return false;
    const known = this.#fold.marks.of(offset - 1);
    if (known !== undefined) return known === mark;
    // A removed message cannot be compared; a reader from there reports that it is gone.
    if (offset <= this.firstOffset) return true;
    const found = await this.#message(offset - 1);
    return found === null || markOf(found.subject, timeNsOf(found.timestamp)) === mark;
  }

  reader(fromOffset: number, topics: ReadonlySet<string>): PartitionReader {
    const { link, turns } = this.#options;
    const asked = [...topics];
    return new CatchUpReader<LogItem>(
      {
        ...{ link, stream: this.#stream, filters: asked.map((topic) => this.#subjects.topic(topic)), turns },
        deliverable: () => this.deliverableOffset,
        firstOffset: async (fresh: boolean) => {
          if (fresh) await this.look();
          return this.firstOffset;
        },
        lastWanted: () => Math.max(0, ...asked.map((topic) => this.#fold.lastOf.get(topic) ?? 0)),
        missing: () => this.#fold.missing,
        markOf: (sequence) => this.#fold.marks.of(sequence),
        rewinds: () => this.#tail.rewinds,
        read: (message) => {
          const read = this.#subjects.read(message.subject);
          return frameItem(message, read.kind === 'frame' ? read.node : '', this.#fold.clock);
        },
      },
      fromOffset,
    );
  }

  tellSilence(silence: Silence): void {
    this.#silences.add(silence);
  }

  follow(listener: Follower['listener'], lost?: Follower['lost'], silent?: Follower['silent']): () => void {
    const follower: Follower = { listener, lost, silent };
    this.#followers.add(follower);
    clearTimeout(this.#lingering);
    this.#readBodies(true);
    return () => {
      this.#followers.delete(follower);
      if (this.#followers.size > 0) return;
      // Who comes back soon needs no other consumer.
      clearTimeout(this.#lingering);
      this.#lingering = setTimeout(() => this.#readBodies(false), LOG_BODIES_LINGER_MS).unref();
    };
  }

  onGrown(listener: (bytes: number) => void): void {
    this.#growing.push(listener);
  }

  /** Asks what the stream holds now, and whether it is still the one that it was. */
  async look(): Promise<StreamInfo | undefined> {
    const info = await streamInfo(this.#options.link.manager, this.#stream);
    if (info !== undefined) this.#check(info);
    return info;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#lingering);
    this.#lostPlaces.close();
    this.#appender.close();
    await this.#tail.close();
  }

  #readBodies(withBodies: boolean): void {
    if (this.#withBodies === withBodies) return;
    this.#withBodies = withBodies;
    this.#tail.change();
  }

  async #open(): Promise<void> {
    const { link, times } = this.#options;
    const info = await madeStream(link.manager, this.#stream);
    this.#check(info);
    const { first_seq: first, last_seq: last } = info.state;
    const range = { stream: this.#stream, from: Math.max(1, first), to: last + 1, headersOnly: true };
    await scanStream(link, { ...range, filter: this.#subjects.checkpoint }, ({ sequence, headers }) => {
      this.#fold.checkpoints.take(sequence, headers);
    });
    this.#fold.restart(await this.#standingAt(last + 1, first));
    await this.#tail.open(last);
    this.#every(times?.tickMs ?? TICK_MS, () => this.#tick());
    this.#every(LOG_STREAM_LOOK_MS, () => this.#lookAgain());
  }

  #every(ms: number, run: () => void): void {
    this.#timers.push(setInterval(run, ms).unref());
  }

  #tick(): void {
    const { link, broker } = this.#options;
    // While there is no connection the client would keep them all.
    if (link.connected) link.publishing.publish(this.#subjects.tick(broker), this.#silences.take());
  }

  #ticked({ data, sequence }: StoredMessage): void {
    for (const silence of readSilences(data)) for (const { silent } of this.#followers) silent?.(silence, sequence);
  }

  #lookAgain(): void {
    this.look().catch((cause: BackplaneError) => {
      // The tail looks itself, and ends where the stream is another one.
      if (cause.code === 'failed_precondition') this.#tail.restart(cause.message);
    });
  }

  #check(info: StreamInfo): void {
    const identity = checkStream(this.#form, info);
    if (this.identity !== '' && identity !== this.identity) {
      const now = `its identity is ${identity}, it was ${this.identity}`;
      throw new BackplaneError('failed_precondition', `stream ${this.#stream} is not the one that it was: ${now}`);
    }
    this.identity = identity;
    this.#bytesMax = info.config.max_bytes;
    this.#ageMsMax = info.config.max_age / NATS_NS_PER_MS;
    this.#state = info.state;
    this.#fold.looked(info);
  }

  async #goBack({ state }: StreamInfo, lost: number | undefined): Promise<void> {
    if (lost === undefined) return;
    this.#fold.checkpoints.cut(lost);
    const standing = await this.#standingAt(lost, state.first_seq);
    // In one step: what is known of messages and how far nodes reach must not be of two logs.
    this.#fold.cut(lost);
    this.#fold.restart(standing);
  }

  #standingAt(sequence: number, first: number): Promise<Standing> {
    return standingAt(this.#options.link, this.#stream, this.#fold.checkpoints, sequence, first);
  }

  /** Tells what was not told before. */
  #tell(item: LogItem): void {
    if ((item.kind === 'frame' ? item.offset : item.offsetFrom) < this.#tail.toldTo) return;
    if (item.kind !== 'frame') this.#lost({ kind: 'passed', offsetFrom: item.offsetFrom, offsetTo: item.offsetTo });
    else for (const { listener } of this.#followers) listener(item);
  }

  #stored({ subject, sequence, bytes }: StoredMessage): void {
    this.#appender.seen(subject, sequence);
    for (const grown of this.#growing) grown(bytes);
    const due = Math.min(LOG_CHECKPOINT_BYTES, this.#bytesMax / CHECKPOINTS_MIN);
    if (this.#fold.bytesSince < due || this.#closed) return;
    this.#writing ??= this.#writeCheckpoint().finally(() => {
      this.#writing = undefined;
    });
  }

  #rewound(offset: number): void {
    this.#appender.forget();
    this.#lost({ kind: 'rewound', offset });
    this.#options.onRewound(this, offset);
  }

  #lost(loss: LogLoss): void {
    for (const { lost } of this.#followers) lost?.(loss);
  }

  /** Whoever is first writes it; what fails is tried again after the next frame. */
  async #writeCheckpoint(): Promise<void> {
    const { standing } = this.#fold;
    try {
      const last = await writeCheckpoint(this.#options.link, this.#stream, this.#subjects.checkpoint, standing);
      await this.#tail.readUpTo(last, performance.now() + NATS_REQUEST_MS);
    } catch {
      // Another broker was first, or NATS is away.
      this.#fold.bytesSince /= 2;
    }
  }

  async #publish(subject: string, bytes: Buffer): Promise<number> {
    try {
      const { seq } = await this.#options.link.client.publish(subject, bytes, {
        expect: { streamName: this.#stream },
        timeout: NATS_REQUEST_MS,
        retries: 3,
      });
      return seq;
    } catch (cause) {
      throw new BackplaneError('unavailable', `NATS takes nothing: ${(cause as Error).message}`);
    }
  }

  /** Asked of the leader. */
  #message(offset: number) {
    return storedMessage(this.#options.link.manager, this.#stream, { seq: offset });
  }
}
