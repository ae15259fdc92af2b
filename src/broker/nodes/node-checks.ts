/** Bounds on what nodes say about themselves, checked before it is kept and shown to others. */
import { BackplaneError } from '../../errors.js';
import { NODE_LABELS_MAX } from '../../limits/containers.js';
import {
  BLIND_SPOT_CHARACTERS_MAX,
  BLIND_SPOTS_MAX,
  BUDGET_BURST_MS_MAX,
  EPOCH_MAX,
  NAME_BYTES_MAX,
  NODE_MESSAGE_CHARACTERS_MAX,
  PROFILES_PER_NODE_MAX,
  REDACTION_NAMES_MAX,
} from '../../limits.js';
import { checkName } from '../../subscriptions/request/names.js';
import { isNodeLabel } from '../../subscriptions/request/node-labels.js';
import { shown } from '../../text/shown.js';
import { checkLosses } from '../../wire/frame/loss.js';
import {
  type Hello__Output,
  type HistoryEnd__Output,
  type NodeReport__Output,
  positionFromMessage,
  timestampToNs,
} from '../../wire/messages.js';
import type { Position } from '../../wire/position.js';

/** Throws invalid_argument. An epoch up to `epochKnown` is allowed above EPOCH_MAX, because the broker assigned it. */
export function checkHello(hello: Hello__Output, epochKnown: number): void {
  const { recorderId, bootId, version, kernelRelease, source, degraded, epoch, profiles, wallTime, budget, labels } =
    hello;
  checkName('hello.recorder_id', recorderId);
  const words = { boot_id: bootId, version, kernel_release: kernelRelease, source };
  for (const [field, text] of Object.entries(words)) checkWord(`hello.${field}`, text);
  checkText('hello.degraded', degraded, NODE_MESSAGE_CHARACTERS_MAX);
  if (profiles.length > PROFILES_PER_NODE_MAX || profiles.some((profile) => profile.length > NAME_BYTES_MAX)) {
    const bound = `at most ${PROFILES_PER_NODE_MAX} of ${NAME_BYTES_MAX} characters`;
    throw refused(`hello.profiles must be ${bound}, got ${profiles.length}`);
  }
  if (labels.length > NODE_LABELS_MAX) {
    throw refused(`hello.labels must be at most ${NODE_LABELS_MAX}, got ${labels.length}`);
  }
  for (const label of labels)
    if (!isNodeLabel(label)) throw refused(`hello.labels must be key=value, got ${shown(label)}`);
  if (Number(epoch) > Math.max(EPOCH_MAX, epochKnown)) {
    throw refused(`hello.epoch must be at most ${EPOCH_MAX}, got ${epoch}`);
  }
  if (wallTime) timestampToNs('hello.wall_time', wallTime);
  if (budget && budget.burstMs > BUDGET_BURST_MS_MAX) {
    throw refused(`hello.budget.burst_ms must be at most ${BUDGET_BURST_MS_MAX}, got ${budget.burstMs}`);
  }
}

/** Throws invalid_argument. */
export function checkReport({
  recordedFrom,
  wallTime,
  degraded,
  source,
  argumentsBy,
  cpuRatio,
  redactions,
  blindSpots,
}: NodeReport__Output): void {
  if (recordedFrom) timestampToNs('report.recorded_from', recordedFrom);
  if (wallTime) timestampToNs('report.wall_time', wallTime);
  checkText('report.degraded', degraded, NODE_MESSAGE_CHARACTERS_MAX);
  checkWord('report.source', source);
  checkWord('report.arguments_by', argumentsBy);
  if (!Number.isFinite(cpuRatio) || cpuRatio < 0) {
    throw refused(`report.cpu_ratio must be a number from 0, got ${cpuRatio}`);
  }
  const rules = Object.keys(redactions).length;
  if (rules > REDACTION_NAMES_MAX) {
    throw refused(`report.redactions must have at most ${REDACTION_NAMES_MAX} rules, got ${rules}`);
  }
  const spots = Object.entries(blindSpots);
  if (spots.length > BLIND_SPOTS_MAX) {
    throw refused(`report.blind_spots must have at most ${BLIND_SPOTS_MAX} types, got ${spots.length}`);
  }
  for (const [type, text] of spots) {
    checkWord('report.blind_spots', type);
    checkText(`report.blind_spots of ${shown(type)}`, text, BLIND_SPOT_CHARACTERS_MAX);
  }
}

/** Throws invalid_argument. */
export function checkHistoryEnd(end: HistoryEnd__Output): void {
  const { coveredFrom, coveredTo, source, message, error, losses, reached } = end;
  if (coveredFrom) timestampToNs('history_end.covered_from', coveredFrom);
  if (coveredTo) timestampToNs('history_end.covered_to', coveredTo);
  checkWord('history_end.source', source);
  checkText('history_end.message', message, NODE_MESSAGE_CHARACTERS_MAX);
  checkText('history_end.error', error, NODE_MESSAGE_CHARACTERS_MAX);
  checkLosses('history_end', losses);
  if (reached) positionFromMessage('history_end.reached', reached);
}

/** Throws invalid_argument for an epoch after the session's: its positions would hide all that the node sends later. */
export function checkEpoch(field: string, { epoch }: Pick<Position, 'epoch'>, epochMax: number): void {
  if (epoch > epochMax) throw refused(`${field}.epoch must be at most ${epochMax}, got ${epoch}`);
}

/** For texts that are shown within one line, as names are: no control characters. */
function checkWord(field: string, text: string): void {
  checkText(field, text, NAME_BYTES_MAX);
  if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) {
    throw refused(`${field} must have no control characters, got ${shown(text)}`);
  }
}

function checkText(field: string, text: string, charactersMax: number): void {
  if (text.length <= charactersMax) return;
  throw refused(`${field} must be at most ${charactersMax} characters, got ${text.length}: ${shown(text)}`);
}

function refused(message: string): BackplaneError {
  return new BackplaneError('invalid_argument', message);
}
