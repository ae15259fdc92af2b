/** The contract of audit logs, which every implementation must keep. */
import assert from 'node:assert/strict';
import type { AuditLog } from '../../src/broker/cluster/audit-log.js';
import { eachWith } from './each.js';

export interface AuditLogUnderTest {
  /** Another writer of the same log, as after a restart. */
  open(): AuditLog;
  /** All entries that are still there, oldest first. */
  entries(): Promise<readonly { readonly number: number }[]>;
  /** From here on nothing can be written. */
  breakIt(): Promise<void>;
  destroy(): Promise<void>;
}

/** @param create with room for some hundred short entries, and not for thousands */
export function auditLogContract(name: string, create: () => Promise<AuditLogUnderTest>): void {
  const each = eachWith(name, create);

  each('an acknowledged entry is stored, and entries are in the order of the calls', async (under) => {
    const log = under.open();
    const appending = Array.from({ length: 50 }, (_, number) => log.append([{ number }]));
    await log.append([{ number: 50 }, { number: 51 }]);
    await Promise.all(appending);
    assert.deepEqual(
      (await under.entries()).map(({ number }) => number),
      Array.from({ length: 52 }, (_, number) => number),
    );
  });

  each('no entry of two concurrent writers is lost or torn', async (under) => {
    const [one, other] = [under.open(), under.open()];
    const numbers = Array.from({ length: 40 }, (_, number) => number);
    await Promise.all(numbers.map((number) => (number % 2 ? one : other).append([{ number }])));
    assert.deepEqual(
      (await under.entries()).map(({ number }) => number).sort((a, b) => a - b),
      numbers,
    );
  });

  each('the newest entries are kept, within a bound', async (under) => {
    const log = under.open();
    for (let number = 0; number < 5_000; number += 100) {
      await log.append(Array.from({ length: 100 }, (_, at) => ({ number: number + at, text: 'x'.repeat(50) })));
    }
    const kept = (await under.entries()).map(({ number }) => number);
    assert.ok(kept.length >= 100 && kept.length < 2_000, `${kept.length}`);
    assert.deepEqual(
      kept,
      kept.map((_, at) => 5_000 - kept.length + at),
    );
  });

  each('an entry that cannot be kept is refused', async (under) => {
    const log = under.open();
    await log.append([{ number: 0 }]);
    await under.breakIt();
    await assert.rejects(log.append([{ number: 1 }]));
    assert.ok(log.place.length > 0);
  });
}
