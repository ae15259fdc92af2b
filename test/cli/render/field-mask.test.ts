/** Field masks of the command line: which paths are accepted, and what a mask leaves. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { applyFieldMask, JSON_FIELDS, parseFieldMask, parseShownFields } from '../../../src/cli/render/field-mask.js';
import { BackplaneError } from '../../../src/errors.js';

/** Leaf paths of a message in proto/backplane/v1/event.proto, in JSON names. */
function protoLeaves(message: string): string[] {
  const text = readFileSync(new URL('../../../../proto/backplane/v1/event.proto', import.meta.url), 'utf8');
  const body = new RegExp(`message ${message} \\{([^}]*)\\}`).exec(text)?.[1] ?? assert.fail(message);
  return [...body.matchAll(/^\s*(?:repeated |optional )?([\w.<>, ]+?) (\w+) = \d+;/gm)].flatMap(
    ([, type = '', name = '']) => {
      const json = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
      if (/^[a-z]/.test(type)) return [json];
      return protoLeaves(type).map((leaf) => `${json}.${leaf}`);
    },
  );
}

test('every field of the proto can be asked for, and nothing else', () => {
  const fromProto = protoLeaves('Event');
  assert.deepEqual([...JSON_FIELDS].sort(), fromProto.sort());
});

test('paths are accepted as in the proto and as in JSON', () => {
  assert.deepEqual(
    parseFieldMask('process.command_args, process.commandArgs,raw.fields.prev_pid,event.time,host.name'),
    [
      ['process', 'commandArgs'],
      ['process', 'commandArgs'],
      ['raw', 'fields', 'prev_pid'],
      // As filters name them.
      ['time'],
      ['node'],
    ],
  );
});

test('unknown paths are refused with the nearest known one', () => {
  for (const [path, expected] of [
    ['comm', /unknown field "comm", did you mean "process.comm"\?/],
    ['command_args', /did you mean "process.command_args"\?/],
    ['commandargs', /did you mean "process.command_args"\?/],
    ['process.pidd', /--field-mask: unknown field "process.pidd", did you mean "process.pid"\?/],
    ['', /unknown field ""/],
    ['__proto__.polluted', /unknown field/],
    ['constructor', /unknown field/],
  ] as const) {
    assert.throws(
      () => parseFieldMask(path),
      (thrown) => thrown instanceof BackplaneError && expected.test(thrown.message),
    );
  }
});

test('masking copies: an event that is masked twice stays as it was', () => {
  const event = { process: { pid: 1, executable: { path: '/a', name: 'a' } } };
  const before = structuredClone(event);
  const masked = applyFieldMask(event, parseFieldMask('process,process.executable.path,signal'));
  assert.deepEqual(masked, before);
  assert.deepEqual(event, before);
});

test('what may be inferred is shown with its mark', () => {
  assert.deepEqual(parseShownFields('process.user.id,process.pid'), [
    ['process', 'user', 'id'],
    ['process', 'pid'],
    ['process', 'inferred'],
  ]);
  assert.deepEqual(parseShownFields('process.pid'), [['process', 'pid']]);
});
