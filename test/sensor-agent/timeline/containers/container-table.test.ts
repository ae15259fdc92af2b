/** What is remembered of containers: bounded, the least used go first, and a checkpoint has all of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONTAINERS_BYTES_MAX, CONTAINERS_MAX, CONTAINERS_PER_RECORD } from '../../../../src/limits/containers.js';
import { ContainerTable } from '../../../../src/sensor-agent/timeline/containers/container-table.js';

const idOf = (at: number) => String(at).padStart(64, '0');

function filled(count: number, nameCharacters = 8): ContainerTable {
  const table = new ContainerTable();
  for (let at = 0; at < count; at += 1)
    table.take({ asked: true, containers: [{ id: idOf(at), name: 'n'.repeat(nameCharacters) }], gone: [] });
  return table;
}

test('a container has its names, one that nobody could name says so, and without a runtime its id stands alone', () => {
  const table = new ContainerTable();
  assert.deepEqual(table.of('a'), { container: { id: 'a' }, k8s: undefined });
  table.take({ asked: true, containers: [], gone: [] });
  assert.deepEqual(table.of('a'), { container: { id: 'a', unresolved: true }, k8s: undefined });
  const names = {
    name: 'nginx',
    image: 'docker.io/library/nginx',
    tag: '1.27',
    pod: 'web-1',
    podUid: 'u',
    namespace: 'shop',
  };
  table.take({
    asked: true,
    containers: [
      { id: 'a', ...names },
      { id: 'b', unresolved: true },
    ],
    gone: [],
  });
  const { container, k8s } = table.of('a');
  assert.deepEqual(container, { id: 'a', name: 'nginx', image: { name: 'docker.io/library/nginx', tags: ['1.27'] } });
  assert.deepEqual(k8s, { podName: 'web-1', podUid: 'u', namespaceName: 'shop' });
  assert.deepEqual(table.of('b').container, { id: 'b', unresolved: true });
  assert.deepEqual(table.of(undefined), { container: undefined, k8s: undefined });
  table.take({ asked: true, containers: [{ id: 'b', name: 'late' }], gone: ['a'] });
  assert.deepEqual(table.of('b').container?.name, 'late');
  assert.equal(table.knows('a'), false);
});

test('unknown containers are noted once each, by whoever asks for them', () => {
  const table = new ContainerTable();
  table.seen('a');
  table.noteUnknown();
  table.seen('a');
  assert.deepEqual(table.takeUnknown(), []);
  table.take({ asked: true, containers: [{ id: 'k' }], gone: [] });
  for (const id of ['a', 'a', 'k', undefined, 'b']) table.seen(id);
  assert.deepEqual(table.takeUnknown(), ['a', 'b']);
  assert.deepEqual(table.takeUnknown(), []);
});

test('where there is no room the least used go, by number and by bytes', () => {
  assert.deepEqual(filled(CONTAINERS_MAX).surplus(), []);
  const table = filled(CONTAINERS_MAX + 1);
  table.of(idOf(0));
  const gone = table.surplus();
  assert.ok(gone.length > 1 && gone.length < CONTAINERS_MAX / 8, `${gone.length} go`);
  assert.equal(gone[0], idOf(1));
  assert.ok(!gone.includes(idOf(0)));
  const large = filled(Math.ceil(CONTAINERS_BYTES_MAX / 4_000), 4_000);
  assert.ok(large.surplus().length > 0 && large.size < CONTAINERS_MAX);
});

test('what no record takes away does not fill the memory either', () => {
  assert.equal(filled(2 * CONTAINERS_MAX).size, CONTAINERS_MAX + CONTAINERS_PER_RECORD);
});

test('what is saved and loaded is the same, in order of use', () => {
  const table = filled(3);
  table.of(idOf(0));
  const loaded = new ContainerTable();
  loaded.load(table.save());
  assert.deepEqual(loaded.save(), table.save());
  assert.deepEqual(
    loaded.save().containers.map(({ id }) => id),
    [1, 2, 0].map(idOf),
  );
  assert.equal(loaded.asked, true);
});
