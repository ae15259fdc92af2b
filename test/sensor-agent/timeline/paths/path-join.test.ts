/** Which call a path belongs to, from events as the kernel's formats give them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT_STRING_BYTES_MAX, FILE_PATHS_BYTES_MAX, PATH_JOIN_THREADS_MAX } from '../../../../src/limits.js';
import { PathJoin } from '../../../../src/sensor-agent/timeline/paths/path-join.js';

const AT = 0xffff_ff9cn;
const begins = (flags = 0n) => ['sys_enter_openat', { dfd: AT, filename: 1n, flags, mode: 0o600n }] as const;
const opens = (path: string) => ['path_open', { path, flags: 0x8241, mode: 0o644 }] as const;

function joined(...events: readonly (readonly [string, object] | 'returns' | 'exec')[]) {
  const join = new PathJoin();
  const paths: (string | undefined)[] = [];
  for (const event of events) {
    if (event === 'returns') paths.push(join.take(7, true)?.path);
    else if (event === 'exec') join.forget(7);
    else assert.equal(join.follow(7, event[0], event[1] as Record<string, never>), true);
  }
  return paths;
}

test('an open has the path that its thread was given between its begin and its return, and no other', () => {
  assert.deepEqual(joined(begins(), opens('/a'), 'returns', begins(), opens('/b'), 'returns'), ['/a', '/b']);
  // It ended before the kernel came to its path, or its record had no room.
  assert.deepEqual(joined(begins(), opens('/a'), begins(), 'returns'), ['']);
  assert.deepEqual(joined(begins(), opens('/a'), 'returns', 'returns'), ['/a', undefined]);
  // Given to an exec that failed, or by io_uring; then a call that was refused before it began.
  assert.deepEqual(joined(opens('/bin/ls'), 'returns'), [undefined]);
  assert.deepEqual(joined(begins(), opens('/a'), 'exec', 'returns'), [undefined]);
  // A driver opens more for the call.
  assert.deepEqual(joined(begins(), opens('/dev/x'), opens('/firmware'), 'returns'), ['/dev/x']);
});

test('flags and mode are what the program gave, where registers have them, else what the kernel made of them', () => {
  const taken = (begin: readonly [string, object]) => {
    const join = new PathJoin();
    join.follow(7, begin[0], begin[1] as Record<string, never>);
    join.follow(7, ...(opens('/a') as unknown as [string, Record<string, never>]));
    const { flags, mode } = join.take(7, true)!;
    return [flags, mode];
  };
  assert.deepEqual(taken(begins(0x8_0241n)), [0x8_0241, 0o600]);
  const [flags] = taken(['sys_enter_openat2', { dfd: AT, filename: 1n, how: 2n, usize: 24n }]);
  assert.equal(flags, process.arch === 'x64' ? 0x241 : 0x8241);
  assert.deepEqual(taken(['sys_enter_creat', { pathname: 1n, mode: 0o640n }])[1], 0o640);
});

test('of a file itself the path is where it is, or not known', () => {
  const join = new PathJoin();
  const mount = { space: 1n, number: 4711, r0: 9n, r1: 9n, d1_0: 9n, m1: 100n, m2: 100n };
  const names = { d0_0: 7n, n0_0: 'f', d0_1: 8n, n0_1: 'd', d0_2: 9n };
  const told = (values: object) => {
    join.follow(7, 'path_chmod', { ...mount, ...names, ...values });
    return join.take(7, false);
  };
  assert.deepEqual(told({}), { path: '/d/f', resolved: true, namespace: 4711 });
  assert.deepEqual(told({ r0: 10n }), { path: '', resolved: true });
  join.usualNamespace = 4711;
  assert.deepEqual(told({}), { path: '/d/f', resolved: true });
  assert.deepEqual(told({ number: 4712 }), { path: '/d/f', resolved: true, namespace: 4712 });
});

test("threads do not meet, other operations neither, and what is missing is nobody else's", () => {
  const join = new PathJoin();
  join.follow(7, ...(begins() as unknown as [string, Record<string, never>]));
  join.follow(8, ...(begins() as unknown as [string, Record<string, never>]));
  join.follow(7, 'path_open', { path: '/seven', flags: 0, mode: 0 });
  join.follow(8, 'path_open', { path: '/eight', flags: 0, mode: 0 });
  join.follow(7, 'path_rename', { path: '/old', new_path: '/new' });
  assert.equal(join.take(8, true)?.path, '/eight');
  assert.deepEqual(join.take(7, false), { path: '/old', newPath: '/new' });
  assert.equal(join.take(7, false), undefined);
  assert.equal(join.take(7, true)?.path, '/seven');
  for (const end of [() => join.clear(), () => join.forget(7)]) {
    join.follow(7, 'path_unlink', { path: '/gone' });
    end();
    assert.equal(join.take(7, false), undefined);
  }
});

test('paths are bounded by bytes, and so are threads', () => {
  const join = new PathJoin();
  const long = '\ufffd'.repeat(4000);
  join.follow(7, 'path_rename', { path: long, new_path: long });
  const { path, newPath } = join.take(7, false)!;
  assert.ok(Buffer.byteLength(path) <= EVENT_STRING_BYTES_MAX && path.length > 1000);
  assert.equal(newPath, undefined);
  join.follow(7, 'path_link', { path: 'x'.repeat(3000), new_path: 'y'.repeat(4000) });
  const both = join.take(7, false)!;
  assert.equal(both.path.length + (both.newPath?.length ?? 0), 7000);
  assert.ok(7000 <= FILE_PATHS_BYTES_MAX);
  join.follow(7, 'path_unlink', { path: '(fault)' });
  assert.equal(join.take(7, false)?.path, '');
  for (let thread = 0; thread <= PATH_JOIN_THREADS_MAX; thread += 1) join.follow(thread, 'path_unlink', { path: '/x' });
  assert.equal(join.take(0, false), undefined);
  assert.equal(join.take(PATH_JOIN_THREADS_MAX, false)?.path, '/x');
});
