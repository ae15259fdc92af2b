/**
 * What a logged frame covers, in its headers, so that a log is followed without its bodies:
 *
 *   Bp-From, Bp-To := epoch ":" nanoseconds ":" lane ":" tie
 *   Bp-Continues   := "1", where the frame continues the one before (see chain.ts)
 */
import type { MsgHdrs } from 'nats';
import { BackplaneError } from '../../../errors.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { type Position, positionText } from '../../../wire/position.js';
import { headers } from '../../nats/nats-library.js';

const [FROM, TO, CONTINUES] = ['Bp-From', 'Bp-To', 'Bp-Continues'];

export type Cover = Pick<Frame, 'coveredFrom' | 'coveredTo' | 'continues'>;

export function coverHeaders({ coveredFrom, coveredTo, continues }: Cover): MsgHdrs {
  const written = headers();
  written.set(FROM, positionText(coveredFrom));
  written.set(TO, positionText(coveredTo));
  if (continues) written.set(CONTINUES, '1');
  return written;
}

/** Throws damaged where they are not those of a frame. */
export function readCover(received: MsgHdrs | undefined): Cover {
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
