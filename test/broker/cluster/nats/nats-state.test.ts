/** Shared state on a stream: the contract, and what NATS does to it. */
import assert from 'node:assert/strict';
import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { JoinTokens } from '../../../../src/broker/access/join/join-tokens.js';
import { keptStream, sharedStream } from '../../../../src/broker/cluster/nats/coordination-streams.js';
import type { NatsState, NatsStateOptions } from '../../../../src/broker/cluster/nats/nats-state.js';
import type { GroupRecord } from '../../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../../src/broker/groups/group-store.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { GROUP_SLICES, MiB, STATE_ENTRY_BYTES_MAX, STATE_KEY_BYTES_MAX } from '../../../../src/limits.js';
import { countOne, sharedStateContract } from '../../../contract/shared-state.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';
import { linkTo, newCluster, openNatsState, twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const GROUP: GroupRecord = {
  ...{ name: 'g', owner: 'me', topics: ['process'], filter: '', includeSelf: false, fields: [], globs: [] },
  ...{ createdMs: 1, sinceNs: 0n, interestMs: 1, cursorsMs: 1, aloneSinceMs: undefined },
  slices: Array.from({ length: GROUP_SLICES[0] }, () => ({ epoch: 0, cursor: '', committedMs: 0 })),
};

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const skip = needsNats();
const nats = twoOnNats();

if (skip === false) {
  sharedStateContract('nats', contract);
}

async function contract() {
  const cluster = await newCluster(nats.links[0]);
  const open: NatsState[] = [];
  /** Shared by all that are open. */
  const times: { writeMs?: number } = {};
  const openOn = async (link: NatsLink, broker: string) => {
    const state = await openNatsState(link, cluster, { broker, times });
    open.push(state);
    return state;
  };
  const closeAll = async () => {
    await Promise.all(open.splice(0).map((state) => state.close()));
  };
  return {
    reopen: async () => {
      await closeAll();
      return openOn(nats.links[0], 'b1');
    },
    two: () => Promise.all([openOn(nats.links[0], 'b1'), openOn(nats.links[1], 'b2')]),
    breakIt: async () => {
      await nats.servers.first.kill();
      times.writeMs = 200;
      return async () => {
        delete times.writeMs;
        await restarted();
      };
    },
    destroy: closeAll,
  };
}

/** The server is started again, and the connections are there. */
async function restarted(): Promise<void> {
  nats.servers.first.start();
  await nats.servers.first.ready();
  await reconnected();
}

async function reconnected(): Promise<void> {
  for (const connection of nats.links.flatMap(({ publishing, reading, asking }) => [publishing, reading, asking])) {
    await until('that it is connected again', () =>
      connection.flush().then(
        () => true,
        () => false,
      ),
    );
  }
}

/** Two brokers of a new cluster. */
async function twoStates(
  options: readonly [Partial<NatsStateOptions>, Partial<NatsStateOptions>] = [{}, {}],
  streamOf = sharedStream,
) {
  const cluster = await newCluster(nats.links[0]);
  const states = await Promise.all([
    openNatsState(nats.links[0], cluster, { broker: 'b1', ...streamOf(cluster), ...options[0] }),
    openNatsState(nats.links[1], cluster, { broker: 'b2', ...streamOf(cluster), ...options[1] }),
  ]);
  return { cluster, states, close: () => Promise.all(states.map((state) => state.close())) };
}

/** A link that loses every third message on the way there, and the answer to every third. */
function forgetful(link: NatsLink): NatsLink {
  let calls = 0;
  const publisher = Object.create(link.publisher, {
    publish: {
      value: async (...given: Parameters<NatsLink['publisher']['publish']>) => {
        const call = calls++ % 3;
        if (call === 0) throw new Error('lost on the way there');
        const answer = await link.publisher.publish(...given);
        if (call === 1) throw new Error('lost on the way back');
        return answer;
      },
    },
  });
  return { ...link, publisher };
}

test('answers that are lost: what is told as done was done once', { skip }, async () => {
  const { states, close } = await twoStates([{ link: forgetful(nats.links[0]) }, {}]);
  const [one, other] = states;
  await one.put('count', { number: 0 });
  await until('that the other has it', () => other.get('count') !== undefined);
  await Promise.all(
    [one, other].map(async (state) => {
      for (let at = 0; at < 15; at++) await countOne(state);
    }),
  );
  for (const state of states) await until('all', () => state.get('count')?.value.number === 30);
  const revision = await one.put('token', {});
  await until('the token', () => other.get('token')?.revision === revision);
  const used = await Promise.allSettled([one.delete('token', revision), other.delete('token', revision)]);
  assert.deepEqual(used.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  await close();
});

test('who has caught up has read what others changed before', { skip }, async () => {
  const { states, close } = await twoStates();
  const [one, other] = states;
  for (let number = 0; number < 20; number++) {
    await one.put('count', { number });
    await other.caughtUp();
    assert.equal(other.get('count')?.value.number, number);
  }
  await close();
});

test('a consumer that is dead without a sign is replaced, and nothing that was changed meanwhile is missing', {
  skip,
}, async () => {
  /** While set, everything that a consumer is sent is lost. */
  let dead = false;
  const link = nats.links[0];
  const reading = Object.create(link.reading, {
    subscribe: {
      value: (...[subject, options]: Parameters<typeof link.reading.subscribe>) => {
        let lost = false;
        const callback: NonNullable<typeof options>['callback'] = (error, message) => {
          // For good: what follows would be out of order, and noticed at once.
          lost ||= dead;
          if (!lost) options!.callback!(error, message);
        };
        return link.reading.subscribe(subject, { ...options, callback });
      },
    },
    publish: { value: link.reading.publish.bind(link.reading) },
    status: { value: link.reading.status.bind(link.reading) },
  });
  const times = { silenceMs: 100, retryMsMin: 10, tickMs: 20 };
  const { states, close, cluster } = await twoStates([{ link: { ...link, reading }, times }, {}]);
  const [one, other] = states;
  await one.put('a', { number: 1 });
  await one.put('b', { number: 1 });
  dead = true;
  await other.put('a', { number: 2 });
  await until('that it has the entry', () => other.get('b') !== undefined);
  await other.delete('b');
  dead = false;
  await until('the change', () => one.get('a')?.value.number === 2 && one.get('b') === undefined);
  // One that is deleted says so.
  const { stream } = sharedStream(cluster);
  for await (const { name } of nats.links[0].manager.consumers.list(stream))
    await nats.links[0].manager.consumers.delete(stream, name);
  await other.put('a', { number: 3 });
  await until('the next', () => one.get('a')?.value.number === 3);
  await close();
});

test('who watches is told whatever another one makes of it', { skip }, async () => {
  const defects: unknown[] = [];
  const { states, close } = await twoStates([{ onDefect: (cause) => defects.push(cause) }, {}]);
  const [one, other] = states;
  const defect = new Error('a defect');
  const told: string[] = [];
  one.watch('a', () => {
    throw defect;
  });
  one.watch('', ({ key }) => void told.push(key));
  await other.put('a', { number: 1 });
  await other.put('b', { number: 2 });
  await until('the second', () => one.get('b') !== undefined);
  assert.deepEqual([told, defects], [['a', 'b'], [defect]]);
  await close();
});

test('a server is killed: both go on; it went back in time: both notice, and what it has counts from then on', {
  skip,
}, async () => {
  const store = join(nats.servers.first.dir, 'jetstream');
  const kept = `${store}.before`;
  const regressions: string[] = [];
  const onRegression = (reason: string) => regressions.push(reason);
  const { states, close } = await twoStates([{ onRegression }, { onRegression }]);
  const [one, other] = states;
  await one.put('count', { number: 0 });
  await until('that the other has it', () => other.get('count') !== undefined);
  const counting = Promise.all(
    states.map(async (state) => {
      for (let at = 0; at < 10; at++) await countOne(state);
    }),
  );
  await nats.servers.first.kill();
  await restarted();
  await counting;
  for (const state of states) await until('all', () => state.get('count')?.value.number === 20);
  assert.deepEqual(regressions, []);

  nats.servers.first.pause();
  cpSync(store, kept, { recursive: true });
  nats.servers.first.resume();
  await one.put('count', { number: 30 });
  await one.put('b', { number: 2 });
  await until('that the other has it', () => other.get('b') !== undefined);
  await nats.servers.first.kill();
  rmSync(store, { recursive: true });
  renameSync(kept, store);
  const { epoch } = one;
  await restarted();
  await until(
    'that both have noticed',
    () => regressions.length === 2,
    () => regressions,
  );
  assert.match(regressions[0]!, /went back in time/);
  assert.ok(one.epoch > epoch);
  for (const state of states) {
    assert.deepEqual(
      state.entries('').map(({ key, value }) => [key, value]),
      [['count', { number: 20 }]],
    );
  }
  await other.put('b', { number: 3 }, 0);
  await until('a change of the other', () => one.get('b')?.value.number === 3);
  await close();
});

test('of three servers one after the other is killed: each count is made once', {
  skip: skip || !IS_LONG,
}, async (t) => {
  const three = await NatsServers.start({ count: 3 });
  const own = [await linkTo(three), await linkTo(three)] as const;
  const cluster = await newCluster(own[0], { max_bytes: 16 * MiB, num_replicas: 3 });
  // On a busy machine an election, and the next kill's after it, may take longer than a broker would try.
  const times = { writeMs: 300_000 };
  const states = await Promise.all(own.map((link, at) => openNatsState(link, cluster, { broker: `b${at}`, times })));
  let [counted, over] = [0, false];
  t.after(async () => {
    over = true;
    await Promise.all(states.map((state) => state.close()));
    await Promise.all(own.map((link) => link.close()));
    await three.destroy();
  });
  await states[0]!.put('count', { number: 0 });
  await until('that the other has it', () => states[1]!.get('count') !== undefined);
  const counting = Promise.all(
    states.map(async (state) => {
      while (!over) {
        await countOne(state);
        counted++;
      }
    }),
  );
  counting.catch(() => undefined);
  for (let round = 0; round < 9; round++) {
    const killed = three.servers[round % 3]!;
    const before = counted;
    await killed.kill();
    await until(
      'that it goes on',
      () => counted >= before + 20,
      () => counted,
    );
    killed.start();
    await killed.ready();
  }
  over = true;
  await counting;
  for (const state of states) await until('all', () => state.get('count')?.value.number === counted);
  console.log(`${counted} changes in 9 kills`);
});

test('a stream that is gone is told, and so is one that was made again', { skip }, async () => {
  const gone: string[] = [];
  const times = { retryMsMin: 10, silenceMs: 100, tickMs: 20 };
  const { states, close, cluster } = await twoStates([{ onGone: (reason) => gone.push(reason), times }, {}]);
  await states[1].close();
  await nats.links[0].manager.streams.delete(sharedStream(cluster).stream);
  await until('that it is told', () => gone.length > 0);
  assert.match(gone.join(), /^stream KV_BP_.* is gone/);
  await close();
  await assert.rejects(openNatsState(nats.links[0], cluster, { onGone: () => undefined, times }), /is gone/);
});

test('a join token works once over all brokers, and each epoch of a group is given once', { skip }, async () => {
  const { states, close } = await twoStates([{}, {}], keptStream);
  const tokens = states.map((state) => new JoinTokens(state));
  const { text } = await tokens[0]!.create(['a'], 'p'.repeat(43));
  await until('that the other has it', () => states[1].entries('join.').length === 1);
  const used = await Promise.allSettled(tokens.map((each) => each.check(text, 'a')()));
  assert.deepEqual(used.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const stores = states.map((state) => new GroupStore(state, state));
  await stores[0]!.create(GROUP);
  await until('the group', () => stores[1]!.get('g'));
  const epochs: number[] = [];
  const raise = async (store: GroupStore) => {
    for (let at = 0; at < 10; at++) {
      const { slices } = await store.update('g', (record) => {
        const [first, ...others] = record.slices;
        return { ...record, slices: [{ ...first!, epoch: first!.epoch + 1 }, ...others] };
      });
      epochs.push(slices[0]!.epoch);
    }
  };
  await Promise.all(stores.map(raise));
  assert.deepEqual(
    epochs.sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, at) => at + 1),
  );
  await close();
});

test('entries that no broker writes are passed over, and can be overwritten', { skip }, async () => {
  const cluster = await newCluster(nats.links[0]);
  const { prefix } = sharedStream(cluster);
  const { client } = nats.links[0];
  await client.publish(`${prefix}.a`, 'no JSON');
  await client.publish(`${prefix}.b`, '7');
  await client.publish(`${prefix}.c`, '{"bad":true}');
  await client.publish(`${prefix}.d.e.f`, '{}');
  await client.publish(`${prefix}.=zz`, '{}');
  const check = (_key: string, value: unknown) => assert.ok(!(value as { bad?: boolean }).bad);
  const state = await openNatsState(nats.links[0], cluster, { check });
  assert.deepEqual(state.entries(''), []);
  await state.put('a', { number: 1 }, 0);
  await state.delete('b');
  assert.deepEqual(
    state.entries('').map(({ key }) => key),
    ['a'],
  );
  const long = { text: 'x'.repeat(STATE_ENTRY_BYTES_MAX) };
  await assert.rejects(state.put('a', long), { code: 'resource_exhausted', message: /^a must be at most \d+ bytes/ });
  await assert.rejects(state.put('k'.repeat(STATE_KEY_BYTES_MAX), {}), { code: 'resource_exhausted' });
  await state.close();
});

test('what a broker of a later version wrote is not taken for nothing by one that cannot read it', {
  skip,
}, async () => {
  const check = (_key: string, value: unknown) => assert.ok(!('later' in (value as object)));
  const { states, close } = await twoStates([{}, { check }]);
  const [later, own] = states;
  const changes: unknown[] = [];
  own!.watch('group.', ({ value }) => changes.push(value));
  const store = new GroupStore(own!, own!);
  await store.create(GROUP);
  await until('the group', () => later!.get('group.g'));
  const revision = await later!.put('group.g', { later: true });
  await until('that it cannot be read', () => own!.isUnreadable('group.g'));
  assert.deepEqual([own!.get('group.g'), changes.length, changes[1]], [undefined, 2, undefined]);
  const refusal = { code: 'unavailable', message: /a broker of another version wrote .*ask another broker/ };
  await assert.rejects(store.create(GROUP), refusal);
  await assert.rejects(own!.delete('group.g', revision), refusal);
  assert.throws(() => store.checkReadable('g'), refusal);
  assert.equal(later!.get('group.g')?.revision, revision);
  // Whoever needs no former content replaces it.
  await own!.put('group.g', { of: 'this version' });
  assert.equal(own!.isUnreadable('group.g'), false);
  await close();
});
