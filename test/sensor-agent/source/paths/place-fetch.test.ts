/** What a probe fetches of a place, evaluated over the structures of a kernel that is made up, and put together again. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { hasPlace, mountedPlace } from '../../../../src/sensor-agent/source/paths/mounted-place.js';
import { placeFetch } from '../../../../src/sensor-agent/source/paths/place-fetch.js';
import { type KernelTypes, kernelTypes } from '../../../../src/sensor-agent/source/probe/btf.js';

/** Of trace_probe.h: arguments of one definition, their characters, those of a line, and steps of one argument. */
const ARGUMENTS_MAX = 128;
const ARGUMENT_CHARACTERS_MAX = 63;
const LINE_CHARACTERS_MAX = 4_094;
const STEPS_MAX = 16;

type Offsets = Readonly<Record<string, number>>;

/** Structures whose members are in any order, with other words between them. */
const offsets: fc.Arbitrary<Offsets> = fc
  .record({
    path: fc.shuffledSubarray(['path.mnt', 'path.dentry'], { minLength: 2 }),
    seen: fc.shuffledSubarray(['vfsmount.mnt_root', 'vfsmount.other'], { minLength: 2 }),
    mount: fc.shuffledSubarray(['mount.mnt', 'mount.mnt_parent', 'mount.mnt_mountpoint', 'mount.mnt_ns'], {
      minLength: 4,
    }),
    space: fc.shuffledSubarray(['mnt_namespace.other', 'mnt_namespace.ns'], { minLength: 2 }),
    common: fc.shuffledSubarray(['ns_common.ops', 'ns_common.inum'], { minLength: 2 }),
    file: fc.shuffledSubarray(['file.other', 'file.f_path'], { minLength: 2 }),
    dentry: fc.shuffledSubarray(['dentry.d_parent', 'dentry.d_name', 'dentry.other'], { minLength: 3 }),
    qstr: fc.shuffledSubarray(['qstr.hash', 'qstr.name'], { minLength: 2 }),
  })
  .map(({ path, seen, mount, dentry, qstr, space, common, file }) => {
    const placed: Record<string, number> = {};
    // Those that have another structure within them leave it room.
    for (const members of [path, seen, qstr, common])
      for (const [at, member] of members.entries()) placed[member] = at * 8;
    for (const members of [mount, dentry, space, file])
      for (const [at, member] of members.entries()) placed[member] = at * 16;
    return placed;
  });

interface Mount {
  /** Names from its root to where the next one is mounted on it, or to the place. */
  readonly names: readonly string[];
  /** Entries above its root, as of a directory that is bound elsewhere. */
  readonly above: number;
}

const NAMES_MAX = [9, 8, 6, 5, 2, 0];
const name = fc.string({ minLength: 1, maxLength: 9 }).filter((text) => !text.includes('/') && text !== '(fault)');
/** The place's own mount first, the namespace's last. */
const mounts: fc.Arbitrary<readonly Mount[]> = fc
  .integer({ min: 1, max: 5 })
  .chain((count) =>
    fc.tuple(
      ...NAMES_MAX.slice(0, count).map((max) =>
        fc.record({ names: fc.array(name, { maxLength: max }), above: fc.nat(3) }),
      ),
    ),
  );

const NAMESPACE = 4_026_531_840n;

/** Lays the structures out in memory; returns it, and the address of the path, or of the file that has it. */
function laidOut(
  at: Offsets,
  chain: readonly Mount[],
  ofFile: boolean,
): { words: Map<bigint, bigint | string>; path: bigint } {
  const words = new Map<bigint, bigint | string>();
  let next = 0x1000n;
  const room = () => {
    next += 0x400n;
    return next;
  };
  const set = (address: bigint, member: string, value: bigint | string) =>
    words.set(address + BigInt(at[member]!), value);
  const entry = (parent: bigint | undefined, text: string) => {
    const address = room();
    set(address, 'dentry.d_parent', parent ?? address);
    const textAt = room();
    words.set(textAt, text);
    words.set(address + BigInt(at['dentry.d_name']! + at['qstr.name']!), textAt);
    return address;
  };
  const space = room();
  words.set(space + BigInt(at['mnt_namespace.ns']! + at['ns_common.inum']!), NAMESPACE);
  let outer: { mount: bigint; entry: bigint } | undefined;
  for (const { names, above } of [...chain].reverse()) {
    let root = entry(undefined, '/');
    for (let up = 0; up < above; up++) root = entry(root, `above-${up}`);
    let last = root;
    for (const text of names) last = entry(last, text);
    const mount = room();
    const seen = BigInt(at['mount.mnt']!);
    set(mount + seen, 'vfsmount.mnt_root', root);
    set(mount, 'mount.mnt_ns', space);
    set(mount, 'mount.mnt_parent', outer?.mount ?? mount);
    set(mount, 'mount.mnt_mountpoint', outer?.entry ?? root);
    outer = { mount, entry: last };
  }
  const holder = room();
  const path = holder + (ofFile ? BigInt(at['file.f_path']!) : 0n);
  set(path, 'path.mnt', outer!.mount + BigInt(at['mount.mnt']!));
  set(path, 'path.dentry', outer!.entry);
  return { words, path: holder };
}

/** As the kernel evaluates `+8(+0(%si))`. */
function fetched(expression: string, memory: Map<bigint, bigint | string>, path: bigint): bigint | string {
  if (expression === '%si') return path;
  const [, sign, offset, inner] = /^([+-])(\d+)\((.*)\)$/.exec(expression)!;
  const base = fetched(inner!, memory, path) as bigint;
  return memory.get(sign === '-' ? base - BigInt(offset!) : base + BigInt(offset!)) ?? 0n;
}

function recorded(at: Offsets, chain: readonly Mount[], ofFile = false) {
  const { words, path } = laidOut(at, chain, ofFile);
  const types = { offset: (structure: string, member: string) => at[`${structure}.${member}`] } as KernelTypes;
  const values = placeFetch(types, '%si', ofFile ? ['file', 'f_path'] : undefined)!
    .split(' ')
    .map((fetch) => {
      const [, field, expression, type] = /^(\w+)=(.*):(x64|u32|string)$/.exec(fetch)!;
      const value = fetched(expression!, words, path);
      return [field!, type === 'string' && typeof value !== 'string' ? '(fault)' : value] as const;
    });
  return Object.fromEntries(values);
}

const SPACE = 0xffff_8881_0000_0000n;

const placeOf = (chain: readonly Mount[]) =>
  `/${[...chain]
    .reverse()
    .flatMap(({ names }) => names)
    .join('/')}`;

test('a place is told from the root of its namespace, through mounts on mounts and directories that are bound', () => {
  fc.assert(
    fc.property(offsets, mounts, fc.boolean(), (at, chain, ofFile) => {
      // The path's place in a file may take the room of a name.
      fc.pre(!ofFile || chain.every(({ names }, index) => names.length < NAMES_MAX[index]!));
      const values = recorded(at, chain, ofFile);
      assert.ok(hasPlace(values));
      assert.deepEqual(mountedPlace(values), { path: placeOf(chain), namespace: Number(NAMESPACE) });
    }),
  );
});

test('a place with more mounts or entries than are fetched is not told at all', () => {
  const plain = { names: ['a'], above: 0 };
  fc.assert(
    fc.property(offsets, fc.nat(4), fc.integer({ min: 1, max: 5 }), (at, deep, more) => {
      const entries = NAMES_MAX.slice(0, deep + 1).map((max, mount) =>
        mount === deep ? { names: Array.from({ length: max + more }, () => 'b'), above: 1 } : plain,
      );
      assert.equal(mountedPlace(recorded(at, entries)), undefined);
      assert.equal(
        mountedPlace(
          recorded(
            at,
            Array.from({ length: 6 + more }, () => plain),
          ),
        ),
        undefined,
      );
    }),
  );
});

test('what could not be read is no place', () => {
  assert.equal(mountedPlace({}), undefined);
  assert.equal(mountedPlace({ r0: 0n, d0_0: 0n, r1: 0n, d1_0: 0n, m1: 0n, m2: 0n }), undefined);
  const whole = { space: SPACE, number: 7, r0: 1n, d0_0: 2n, n0_0: 'a', d0_1: 1n, r1: 1n, d1_0: 1n, m1: 7n, m2: 7n };
  assert.deepEqual(mountedPlace(whole), { path: '/a', namespace: 7 });
  // In memory only, of the kernel's own mounts, in a mount that was detached or is nowhere yet.
  for (const none of [{ space: 0n }, { space: 0xffff_ffff_ffff_ffean }, { number: 0 }, { number: 0xeffffff7 }])
    assert.equal(mountedPlace({ ...whole, ...none }), undefined);
  assert.equal(mountedPlace({ ...whole, n0_0: '(fault)' }), undefined);
  assert.equal(mountedPlace({ ...whole, m2: 8n }), undefined);
});

test('a definition keeps within what the kernel takes, and is none where a structure is not described', () => {
  const at: Record<string, number> = { 'path.mnt': 0, 'path.dentry': 128, 'vfsmount.mnt_root': 128, 'mount.mnt': 256 };
  const space = { 'mount.mnt_ns': 512, 'mnt_namespace.ns': 128, 'ns_common.inum': 128, 'file.f_path': 128 };
  const more = {
    ...space,
    'mount.mnt_parent': 128,
    'mount.mnt_mountpoint': 128,
    'dentry.d_parent': 128,
    'dentry.d_name': 128,
  };
  const all: Offsets = { ...at, ...more, 'qstr.name': 8 };
  const types = (of: Offsets) =>
    ({ offset: (structure: string, member: string) => of[`${structure}.${member}`] }) as KernelTypes;
  const fetches = placeFetch(types(all), '%x0', ['file', 'f_path'])!.split(' ');
  assert.ok(fetches.length <= ARGUMENTS_MAX, `${fetches.length}`);
  const group = 'backplane_0123456789abcdef_recorded';
  assert.ok(`p:${group}/place_move_mount security_move_mount ${fetches.join(' ')}\n`.length <= LINE_CHARACTERS_MAX);
  // The register and the end are steps, too.
  for (const fetch of fetches) {
    assert.ok(fetch.split('(').length + 1 <= STEPS_MAX, fetch);
    assert.ok(fetch.slice(fetch.indexOf('=') + 1).length <= ARGUMENT_CHARACTERS_MAX, fetch);
  }
  for (const left of Object.keys(all)) {
    const { [left]: _, ...rest } = all;
    assert.equal(placeFetch(types(rest), '%x0', ['file', 'f_path']), undefined, left);
  }
});

test('on this kernel as many names are fetched as the documents say', {
  skip: existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel does not describe itself',
}, () => {
  for (const within of [undefined, ['file', 'f_path'] as const]) {
    const text = placeFetch(kernelTypes()!, '%di', within);
    assert.ok(text, 'its structures have what is asked for');
    const count = (mount: number) => text.split(' ').filter((arg) => arg.startsWith(`n${mount}_`)).length;
    assert.ok(count(0) >= 8 && count(1) >= 7 && count(2) >= 6 && count(3) >= 5 && count(4) >= 2, text);
  }
});
