/** Paths put together from the names of directory entries and the mounts that they are below. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FieldValues } from '../../../../src/sensor-agent/source/pages/decoder.js';
import {
  hasMountedPath,
  mountedPath,
  mountedPathFetch,
} from '../../../../src/sensor-agent/source/paths/mounted-path.js';
import { kernelTypes } from '../../../../src/sensor-agent/source/probe/btf.js';

const INSIDE = 32n;
const SPACE = 0xffff_8881_0000_0000n;

interface Mounted {
  /** Names above the mount's root in its filesystem, which a bind mount leaves out. */
  readonly hidden: readonly string[];
  /** From the mount's root down. */
  readonly names: readonly string[];
}

/** What a probe copies of a file: `mounts` from the file's own to the namespace's root. */
function copied(mounts: readonly Mounted[], levels = 9): FieldValues {
  const values: Record<string, bigint | string> = { inside: INSIDE, space: SPACE };
  const mountAt = (level: number) => 0xffff_8880_0000_1000n + BigInt(Math.min(level, mounts.length - 1)) * 0x1000n;
  for (let level = 0; level <= 4; level += 1) {
    const { hidden, names } = mounts[Math.min(level, mounts.length - 1)]!;
    values[`mount${level}`] = mountAt(level) + (level === 0 ? INSIDE : 0n);
    if (level === 4) break;
    // A filesystem's root has its own name, and is above itself.
    const chain = [...[...hidden, ...names].reverse(), '/'].map((name, at) => ({
      name,
      at: 0xffff_8882_0000_0000n + BigInt(level * 0x1000 + at * 0x10),
    }));
    const entry = (up: number) => chain[Math.min(up, chain.length - 1)]!;
    values[`root${level}`] = entry(names.length).at;
    for (let up = 0; up <= (level === 3 ? 0 : levels); up += 1) {
      values[`entry${level}_${up}`] = entry(up).at;
      if (level < 3 && up < levels) values[`name${level}_${up}`] = entry(up).name;
    }
  }
  return values;
}

const names = (maxLength: number) =>
  fc.array(
    fc.string({ minLength: 1, maxLength: 12 }).map((text) => text.replaceAll('/', '_')),
    { maxLength },
  );
const mounted = fc.record({ hidden: names(4), names: names(9) });

test('a path has the names below each mount, and none that a bind mount hides', () => {
  fc.assert(
    fc.property(fc.array(mounted, { minLength: 1, maxLength: 3 }), (mounts) => {
      fc.pre(mounts.every(({ names: each }) => !each.includes('(fault)')));
      const values = copied(mounts);
      assert.ok(hasMountedPath(values));
      const path = [...mounts].reverse().flatMap(({ names: each }) => each);
      assert.equal(mountedPath(values), `/${path.join('/')}`);
    }),
  );
});

test('above three mounts there may be the one that nobody sees, whose root the topmost is mounted on', () => {
  const three = [{ names: ['f'] }, { names: ['user'] }, { names: ['run'] }].map((each) => ({ hidden: [], ...each }));
  assert.equal(mountedPath(copied([...three, { hidden: [], names: [] }])), '/run/user/f');
  assert.equal(mountedPath(copied([...three, { hidden: [], names: ['deeper'] }])), undefined);
});

test('what is too deep, detached, in no namespace or not readable has no path, and not a part of one', () => {
  const deep = Array.from({ length: 10 }, (_, at) => `d${at}`);
  assert.equal(mountedPath(copied([{ hidden: [], names: deep }])), undefined);
  assert.equal(mountedPath(copied([{ hidden: [], names: deep.slice(1) }])), `/${deep.slice(1).join('/')}`);
  const file = copied([{ hidden: [], names: ['etc', 'shadow'] }]);
  assert.equal(mountedPath({ ...file, space: 0n }), undefined);
  assert.equal(mountedPath({ ...file, space: 0xffff_ffff_ffff_ffean }), undefined);
  assert.equal(mountedPath({ ...file, name0_1: '(fault)' }), undefined);
  // A file in memory only: its entry is above itself, and not below the mount's root.
  assert.equal(mountedPath({ ...file, root0: 1n, name0_0: 'memfd:x' }), undefined);
  assert.equal(mountedPath({}), undefined);
});

test('on this kernel no fetch argument is longer than the kernel takes, and as many names fit as documents say', {
  skip: existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel does not describe itself',
}, () => {
  const types = kernelTypes();
  for (const within of [undefined, ['file', 'f_path'] as const]) {
    const text = mountedPathFetch(types, '%di', within);
    assert.ok(text, 'its structures have what is asked for');
    assert.ok(text.length < 4_000, `${text.length} characters of a definition`);
    const args = text.split(' ');
    for (const arg of args) assert.ok(arg.slice(arg.indexOf('=') + 1).length <= 63, arg);
    const count = (level: number) => args.filter((arg) => arg.startsWith(`name${level}_`)).length;
    assert.ok(count(0) >= 8 && count(1) >= 7 && count(2) >= 6, text);
  }
  assert.equal(mountedPathFetch(undefined, '%di'), undefined);
});
