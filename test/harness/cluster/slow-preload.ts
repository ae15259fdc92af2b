/**
 * Loaded into a broker before its own code (`--import`): whatever the embedded engine promises is as true as before, but
 * comes later, by a time drawn from BACKPLANE_SLOW_SEED, as if other machines had been asked. Promises for different
 * nodes and keys overtake each other; those for one node's frames of one topic do not. What is true only because a call
 * used to return at once fails here.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditDocuments } from '../../../src/broker/cluster/audit-documents.js';
import { StateFile } from '../../../src/broker/cluster/embedded/state-file.js';
import { EmbeddedDocumentLog } from '../../../src/broker/log/documents/embedded-document-log.js';
import { EmbeddedLog } from '../../../src/broker/log/embedded/embedded-log.js';
import { Random } from '../../fault/schedule.js';

/** Most come soon, some much later. */
const DELAY_MS_MAX = 4;
const DELAY_MS_MAX_SELDOM = 60;
const ONE_IN_SELDOM = 40;

const random = new Random(Number(process.env.BACKPLANE_SLOW_SEED ?? 1));

function delay(): Promise<void> {
  const ms = random.between(0, random.between(1, ONE_IN_SELDOM) === 1 ? DELAY_MS_MAX_SELDOM : DELAY_MS_MAX);
  return sleep(ms);
}

type Method = (...args: never[]) => Promise<unknown>;

/** Delays the method's promise, but not its effects. */
function slow<T extends object>(type: { readonly prototype: T }, ...names: readonly (keyof T)[]): void {
  for (const name of names) {
    const original = type.prototype[name] as Method;
    type.prototype[name] = async function (this: T, ...args: never[]) {
      try {
        return await original.apply(this, args);
      } finally {
        await delay();
      }
    } as T[typeof name];
  }
}

slow(EmbeddedLog, 'append', 'appendNote', 'readNote', 'probe', 'settled', 'coveredBefore', 'hasMark');
slow(AuditDocuments, 'append');
slow(EmbeddedDocumentLog, 'append', 'settled', 'offsetAt', 'reached', 'hasMark');
slow(StateFile, 'put', 'delete');

const { reader } = EmbeddedLog.prototype;
EmbeddedLog.prototype.reader = function (...args) {
  const inner = reader.apply(this, args);
  const next = inner.next.bind(inner);
  inner.next = async () => {
    const item = await next();
    // Delaying each item would make a replay of ten thousand items take minutes.
    if (random.between(1, ONE_IN_SELDOM) === 1) await delay();
    return item;
  };
  return inner;
};
