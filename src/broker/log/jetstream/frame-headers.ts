/**
 * What a logged frame covers, in its headers, so that a log is followed without its bodies:
 *
 *   Bp-From, Bp-To := epoch ":" nanoseconds ":" lane ":" tie
 *   Bp-Continues   := "1", where the frame continues the one before (see chain.ts)
 */
import { BackplaneError } from '../../../errors.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { type Position, positionText } from '../../../wire/position.js';
import { headerText, type ReceivedHeaders } from '../../nats/header-text.js';

const [FROM, TO, CONTINUES] = ['Bp-From', 'Bp-To', 'Bp-Continues'];
/** The frame is stored only behind this message of its subject. */
const EXPECTED = 'Nats-Expected-Last-Subject-Sequence';

export type Cover = Pick<Frame, 'coveredFrom' | 'coveredTo' | 'continues'>;

/** @param lastSubjectSequence behind which message of its subject it is stored; undefined: wherever it is */
export function coverText({ coveredFrom, coveredTo, continues }: Cover, lastSubjectSequence?: number): string {
  const fields: [string, string | number][] = [
    [FROM, positionText(coveredFrom)],
    [TO, positionText(coveredTo)],
  ];
  if (continues) fields.push([CONTINUES, '1']);
  if (lastSubjectSequence !== undefined) fields.push([EXPECTED, lastSubjectSequence]);
  return headerText(fields);
}

/** Throws damaged where they are not those of a frame. */
export function readCover(received: ReceivedHeaders | undefined): Cover {
  return {
    coveredFrom: readPosition(received?.get(FROM) ?? ''),
    coveredTo: readPosition(received?.get(TO) ?? ''),
    continues: received?.get(CONTINUES) === '1',
  };
}

function readPosition(text: string): Position {
  const [, epoch, timeNs, lane, tie] = /^(\d{1,15}):(\d{1,20}):(\d{1,5}):(\d{1,10})$/.exec(text) ?? [];
  if (tie === undefined)
    throw new BackplaneError('damaged', `a frame's headers have no position: ${text.slice(0, 80)}`);
  return { epoch: Number(epoch), timeNs: BigInt(timeNs!), lane: Number(lane), tie: Number(tie) };
}
