/**
 * Events missing from a recording for any reason but an overrun of the kernel's buffer; whether they would have matched
 * is unknown. Reason and start identify a loss: one that goes on is stated again when it is over.
 *
 *   Loss := reason string 1 | events uint64 2 | events_unknown bool 3
 *         | from Position 4 | to Position 5 (absent: it goes on) | message string 6
 */

import { invalid } from '../../errors.js';
import { FRAME_LOSSES_MAX, LOSS_MESSAGE_CHARACTERS_MAX } from '../../limits.js';
import { type Loss as LossMessage, positionToMessage } from '../messages.js';
import { comparePositions, ORIGIN, type Position } from '../position.js';
import { readPosition, writePosition } from '../position-codec.js';
import { ProtoReader, ProtoWriter } from '../protobuf.js';

/**
 * `disk_full`: the recorder had no room. `disk_failed`: its disk took nothing for another reason. `recording_damaged`:
 * the recording's end cannot be read. `trace_changed`: somebody changed the trace instance. `overhead`: the agent
 * stopped recording some event types because it took more of the machine than it may. `probe_missed`: the kernel did not
 * run a probe that tells events or a part of them. `agent_killed`: an agent had taken them from the kernel, and was killed
 * before it had recorded them. `not_processed`: the agent has an event in its recording and failed to process it, which is
 * a defect.
 */
export type LossReason =
  | 'disk_full'
  | 'disk_failed'
  | 'recording_damaged'
  | 'trace_changed'
  | 'overhead'
  | 'probe_missed'
  | 'agent_killed'
  | 'not_processed';

export interface StatedLoss {
  /** A LossReason, or that of a later version. */
  readonly reason: string;
  /** At least this many; with `unknown` there may be any number more. */
  readonly events: number;
  readonly unknown: boolean;
  readonly from: Position;
  /** Undefined: it goes on. */
  readonly to: Position | undefined;
  /** A sentence for people: which events are missing, and how to help. */
  readonly message: string;
}

const REASON = /^[a-z][a-z_]{0,31}$/;
const LOSS_BYTES_MAX = 2 * 48 + 32 + 4 * LOSS_MESSAGE_CHARACTERS_MAX;

/**
 * Adds a loss to a bounded list. A stated end replaces the loss without one; beyond the bound the loss is merged with
 * another of its reason.
 */
export function mergeLoss(losses: readonly StatedLoss[], loss: StatedLoss): readonly StatedLoss[] {
  const same = losses.find(({ reason, from }) => reason === loss.reason && comparePositions(from, loss.from) === 0);
  if (same?.to) return losses;
  const others = losses.filter((other) => other !== same);
  if (others.length < FRAME_LOSSES_MAX) return [...others, loss];
  const like = others.findLastIndex(({ reason }) => reason === loss.reason);
  const at = like < 0 ? others.length - 1 : like;
  const { events, unknown, message } = others[at]!;
  const to = loss.to && others[at]!.to ? loss.to : undefined;
  const merged = { ...others[at]!, to, events: events + loss.events, unknown: unknown || loss.unknown, message };
  return others.with(at, merged);
}

/** Upper bound of the losses' bytes in a frame. */
export function lossBytesMax(losses: readonly StatedLoss[]): number {
  return losses.length * (LOSS_BYTES_MAX + 8);
}

/** Throws invalid_argument; `what` is the message that holds them. */
export function checkLosses(what: string, losses: readonly Pick<StatedLoss, 'reason' | 'message'>[]): void {
  if (losses.length > FRAME_LOSSES_MAX) throw invalid(what, `at most ${FRAME_LOSSES_MAX} losses, got ${losses.length}`);
  for (const { reason, message } of losses) {
    if (!REASON.test(reason)) throw invalid(what, `reason of a loss must match ${REASON.source}`);
    if (message.length > LOSS_MESSAGE_CHARACTERS_MAX)
      throw invalid(
        what,
        `message of a loss must be at most ${LOSS_MESSAGE_CHARACTERS_MAX} characters, got ${message.length}`,
      );
  }
}

export function writeLoss(writer: ProtoWriter, field: number, loss: StatedLoss): void {
  const inner = new ProtoWriter(LOSS_BYTES_MAX);
  inner.stringField(1, loss.reason);
  inner.uintField(2, loss.events);
  inner.uintField(3, loss.unknown ? 1 : 0);
  writePosition(inner, 4, loss.from);
  if (loss.to) writePosition(inner, 5, loss.to);
  inner.stringField(6, loss.message);
  writer.bytesField(field, inner.finish());
}

/** Appends to `into`, within the bounds of a frame. */
export function readLoss(reader: ProtoReader, into: StatedLoss[]): void {
  if (into.length >= FRAME_LOSSES_MAX) throw reader.fail(`at most ${FRAME_LOSSES_MAX} losses`);
  const inner = new ProtoReader(reader.chunk(), 'frame: loss');
  let [reason, message, events, unknown] = ['', '', 0, false];
  let from = ORIGIN;
  let to: Position | undefined;
  while (inner.nextTag()) {
    if (inner.field === 1) reason = inner.chunk().toString('utf8');
    else if (inner.field === 2) events = inner.uint();
    else if (inner.field === 3) unknown = inner.bool();
    else if (inner.field === 4) from = readPosition(inner);
    else if (inner.field === 5) to = readPosition(inner);
    else if (inner.field === 6) message = inner.chunk().toString('utf8');
    else inner.skip();
  }
  into.push({ reason, events, unknown, from, to, message });
}

export function lossToMessage({ reason, events, unknown, from, to, message }: StatedLoss): LossMessage {
  return {
    reason,
    events,
    eventsUnknown: unknown,
    from: positionToMessage(from),
    to: to ? positionToMessage(to) : null,
    message,
  };
}
