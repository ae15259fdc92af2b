/** A bounded number of connections, of which idle ones give way. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConnectionPlaces } from '../../src/flow/connection-places.js';

class Connection extends EventEmitter {
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
    // Like a socket, it closes later.
    queueMicrotask(() => this.emit('close'));
  }
}

type Step = { readonly what: 'add' | 'heard' | 'keep' | 'release' | 'close'; readonly which: number };

test('connections never exceed the places, and the one idle for longest gives way', async () => {
  const step: fc.Arbitrary<Step> = fc.record({
    what: fc.constantFrom('add', 'add', 'heard', 'keep', 'release', 'close'),
    which: fc.nat(20),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 100 }), async (steps) => {
      const places = new ConnectionPlaces<Connection>(5);
      /** The open connections, the longest idle first, and whether they are kept. */
      let there: { readonly connection: Connection; kept: boolean }[] = [];
      for (const { what, which } of steps) {
        const chosen = there[which % Math.max(1, there.length)];
        if (what === 'add') {
          const connection = new Connection();
          const idle = there.find(({ kept }) => !kept);
          places.add(connection);
          if (there.length < 5) there.push({ connection, kept: false });
          else if (idle === undefined) assert.ok(connection.destroyed);
          else {
            assert.ok(idle.connection.destroyed && !connection.destroyed);
            there = [...there.filter((each) => each !== idle), { connection, kept: false }];
          }
        } else if (chosen !== undefined) {
          const others = there.filter((each) => each !== chosen);
          if (what === 'close') {
            chosen.connection.destroy();
            there = others;
          } else {
            places[what](chosen.connection);
            if (what === 'keep') chosen.kept = true;
            else if (what === 'heard' ? !chosen.kept : chosen.kept) there = [...others, { ...chosen, kept: false }];
          }
        }
        await Promise.resolve();
        assert.ok(there.every(({ connection }) => !connection.destroyed) && there.length <= 5);
      }
    }),
  );
});
