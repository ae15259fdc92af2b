/** Random events, and random filters that are well typed, for the property tests. */
import fc from 'fast-check';
import { type BusEvent, carries } from '../../../src/wire/event/event.js';

/** An expression whose parts are put in parentheses wherever it is written. */
export interface Term {
  readonly parts: readonly (string | Term)[];
  /** Operands of `&&` and `||` may be written in any order. */
  readonly operator?: '&&' | '||';
}

/** How a term is written: blanks between tokens, more parentheses, operands turned round. */
export interface Manner {
  blank(): string;
  parenthesize(): boolean;
  reverse(): boolean;
}

export const PLAIN: Manner = { blank: () => '', parenthesize: () => false, reverse: () => false };

export function written(term: Term, manner: Manner): string {
  const parts = term.operator !== undefined && manner.reverse() ? [...term.parts].reverse() : term.parts;
  return parts
    .map((part) => {
      if (typeof part === 'string') return part === 'in' ? ` in ${manner.blank()}` : part;
      const text = written(part, manner);
      const atom = part.parts.length === 1 && !manner.parenthesize();
      return atom ? text : `(${manner.blank()}${text}${manner.blank()})`;
    })
    .join(manner.blank());
}

/** Blanks, parentheses and turns from a list of random numbers. */
export const manner: fc.Arbitrary<Manner> = fc.array(fc.nat(7), { minLength: 1, maxLength: 40 }).map((numbers) => {
  let at = 0;
  const next = (): number => numbers[at++ % numbers.length]!;
  return {
    blank: () => ['', ' ', '  ', '\t', '\n', '', '', ' '][next()]!,
    parenthesize: () => next() === 1,
    reverse: () => next() > 3,
  };
});

const TEXTS = [
  '',
  'sh',
  'bash',
  'a',
  '-c',
  '/tmp/x',
  '/usr/bin/python3',
  'é日',
  'ÄbC',
  '"\\\n',
  "'",
  'process.exec',
  '10.0.0.1',
];
const INTS = [0n, 1n, -1n, 2n, 42n, 443n, 2n ** 31n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n];
const NEGATIVE_INTS = [-(2n ** 31n), -(2n ** 53n), -(2n ** 53n) - 1n, -(2n ** 63n)];
const TIMES_NS = [0n, 1n, 1_700_000_000_123_456_789n, 1_700_000_300_123_456_789n, 253_402_300_799_999_999_999n];

const text = fc.oneof(fc.constantFrom(...TEXTS), fc.string({ maxLength: 4 }));
const port = fc.constantFrom(0, 22, 443, 65_535);
const wide = fc.constantFrom(...INTS, ...NEGATIVE_INTS);
const pid = fc.constantFrom(0, 1, 2, 42, 443, 2 ** 31 - 1);
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined });

const EVENT_TYPES = ['process.exec', 'process.exit', 'network.tcp.connect', 'host.loss', 'file.open'].concat(
  ['kill', 'mount', 'memfd_create'].map((call) => `security.${call}`),
);

/** An event with the parts that its type can have. */
export const event: fc.Arbitrary<BusEvent> = fc
  .record({
    type: fc.constantFrom(...EVENT_TYPES),
    wallNs: fc.constantFrom(...TIMES_NS),
    process: maybe(
      fc.record({
        pid,
        parentPid: maybe(pid),
        comm: maybe(text),
        executable: maybe(fc.record({ path: text, name: text })),
        commandArgs: maybe(fc.array(text, { maxLength: 4 })),
        commandArgsMissed: maybe(fc.boolean()),
        commandArgsTruncated: maybe(fc.boolean()),
        user: maybe(fc.record({ id: fc.constantFrom(0, 1000, 2 ** 32 - 1) })),
        creationTimeNs: maybe(fc.constantFrom(...TIMES_NS)),
      }),
    ),
    container: maybe(
      fc.record({
        id: text,
        name: maybe(text),
        image: maybe(fc.record({ name: text, tags: maybe(fc.array(text, { maxLength: 2 })) })),
      }),
    ),
    k8s: maybe(fc.record({ podName: text, podUid: maybe(text), namespaceName: text })),
    network: maybe(
      fc.record({
        type: fc.constantFrom('ipv4' as const, 'ipv6' as const),
        transport: fc.constant('tcp' as const),
        local: fc.record({ address: fc.constantFrom('10.0.0.1', '::1'), port }),
        peer: fc.record({ address: fc.constantFrom('10.0.0.1', 'fe80::1'), port }),
      }),
    ),
    syscall: maybe(
      fc.record({
        ...{ id: wide, name: text, args: fc.array(wide, { maxLength: 6 }), result: wide, returned: fc.boolean() },
        ...{ command: maybe(text), targetPid: maybe(fc.constantFrom(-(2 ** 31), -1, 0, 42)) },
      }),
    ),
    mount: maybe(fc.record({ source: text, target: text, type: text, missed: fc.boolean() })),
    object: maybe(fc.record({ name: text, nameMissed: fc.boolean() })),
    file: maybe(
      fc.record({
        path: text,
        pathMissed: fc.boolean(),
        pathResolved: maybe(fc.boolean()),
        newPath: maybe(text),
        descriptor: port,
        flags: port,
        mode: fc.constant(0o644),
        ownerId: maybe(fc.constantFrom(-1, 0, 1000)),
        groupId: maybe(fc.constantFrom(-1, 0, 1000)),
        size: maybe(wide),
        mountNamespace: maybe(fc.constantFrom(4_026_531_840, 1000)),
      }),
    ),
    notice: maybe(
      fc.record({ reason: text, message: text, lost: maybe(fc.constantFrom(0, 7, 2 ** 53 - 1)), source: text }),
    ),
  })
  .map((made) => {
    const parts = Object.entries(made).filter(([part]) => carries(made.type, part));
    return Object.fromEntries(parts) as Partial<typeof made> & Pick<typeof made, 'type' | 'wallNs'>;
  })
  .map((partial) => ({
    ...partial,
    topic: partial.type.slice(0, partial.type.indexOf('.')),
    position: { epoch: 1, timeNs: partial.wallNs, lane: 0, tie: 0 },
  }));

const term = (...parts: (string | Term)[]): Term => ({ parts });
const one = (...texts: string[]): fc.Arbitrary<Term> => fc.constantFrom(...texts).map((each) => term(each));
const COMPARE = ['==', '!=', '<', '<=', '>', '>='];

type Sort = 'bool' | 'int' | 'text' | 'time' | 'duration' | 'list';

const LEAVES: Readonly<Record<Sort, fc.Arbitrary<Term>>> = {
  bool: one(
    'true',
    'false',
    'process.command_args_missed',
    'process.command_args_truncated',
    'file.path_missed',
    'file.path_resolved',
    'mount.missed',
    'object.name_missed',
    'container.unresolved',
  ),
  int: fc.oneof(
    one('process.pid', 'process.parent_pid', 'process.user.id', 'network.peer.port', 'notice.lost'),
    one('syscall.id', 'syscall.arg0', 'syscall.arg5', 'syscall.result', 'file.descriptor', 'file.flags', 'file.mode'),
    one('syscall.target_pid'),
    one('file.owner_id', 'file.group_id', 'file.size', 'file.mount_namespace'),
    fc.constantFrom(...INTS, ...NEGATIVE_INTS).map((value) => term(value < 0n ? `(${value})` : String(value))),
  ),
  text: fc.oneof(
    one('process.comm', 'process.executable.path', 'event.type', 'event.topic', 'container.id', 'notice.reason'),
    one('syscall.name', 'syscall.command', 'file.path', 'file.new_path'),
    one('mount.source', 'mount.target', 'mount.type', 'object.name'),
    one('container.name', 'container.image.name', 'k8s.pod.name', 'k8s.namespace.name', 'k8s.namespace.name'),
    text.map((value) => term(JSON.stringify(value))),
  ),
  time: one('event.time', 'process.creation_time', 'timestamp("2023-11-14T22:13:20.123456789Z")'),
  duration: one('duration("5m")', 'duration("-1h30m")', 'duration("1ns")', 'duration("0s")'),
  list: fc.oneof(one('process.command_args', 'container.image.tags'), one('["sh", "-c"]', '[process.comm, "a"]')),
};

function sorted(sort: Sort, depth: number, item: boolean): fc.Arbitrary<Term> {
  const leaf = item && sort === 'text' ? fc.oneof(LEAVES.text, one('arg')) : LEAVES[sort];
  if (depth === 0) return leaf;
  const of = (each: Sort): fc.Arbitrary<Term> => sorted(each, depth - 1, item);
  const two = (sorts: [Sort, Sort], operators: readonly string[]): fc.Arbitrary<Term> =>
    fc.tuple(of(sorts[0]), fc.constantFrom(...operators), of(sorts[1])).map(([a, op, b]) => term(a, op, b));
  const choice = fc.tuple(of('bool'), of(sort), of(sort)).map(([c, a, b]) => term(c, '?', a, ':', b));
  switch (sort) {
    case 'int': {
      const size = fc.oneof(of('text'), of('list')).map((a) => term('size', '(', a, ')'));
      const negated = of('int').map((a) => term('-', a));
      return fc.oneof(leaf, two(['int', 'int'], ['+', '-', '*', '/', '%']), size, negated, choice);
    }
    case 'text': {
      const element = fc.tuple(of('list'), of('int')).map(([a, b]) => term(a, '[', b, ']'));
      const lower = of('text').map((a) => term(a, '.', 'lowerAscii()'));
      return fc.oneof(leaf, two(['text', 'text'], ['+']), element, lower, choice);
    }
    case 'time':
      return fc.oneof(leaf, two(['time', 'duration'], ['+', '-']), two(['duration', 'time'], ['+']));
    case 'duration':
      return fc.oneof(leaf, two(['duration', 'duration'], ['+', '-']), two(['time', 'time'], ['-']));
    case 'list':
      return fc.oneof(leaf, choice);
    case 'bool':
      return fc.oneof(leaf, choice, conditions(depth, item), logic(of('bool')));
  }
}

function logic(operand: fc.Arbitrary<Term>): fc.Arbitrary<Term> {
  const joined = fc
    .tuple(fc.constantFrom('&&' as const, '||' as const), fc.array(operand, { minLength: 2, maxLength: 3 }))
    .map(([operator, operands]) => ({
      operator,
      parts: operands.flatMap((each, i) => (i === 0 ? [each] : [operator, each])),
    }));
  return fc.oneof(
    joined,
    operand.map((a) => term('!', a)),
  );
}

/** A list of literals, piece by piece. */
const texts = fc
  .array(text, { minLength: 1, maxLength: 3 })
  .map((list) => ['[', ...list.flatMap((each, i) => [...(i === 0 ? [] : [',']), JSON.stringify(each)]), ']']);

function conditions(depth: number, item: boolean): fc.Arbitrary<Term> {
  const of = (each: Sort): fc.Arbitrary<Term> => sorted(each, depth - 1, item);
  const comparisons = (['int', 'text', 'time', 'duration'] as const).map((sort) =>
    fc.tuple(of(sort), fc.constantFrom(...COMPARE), of(sort)).map(([a, op, b]) => term(a, op, b)),
  );
  const tests = fc
    .tuple(of('text'), fc.constantFrom('startsWith', 'endsWith', 'contains'), of('text'))
    .map(([a, test, b]) => term(a, '.', test, '(', b, ')'));
  const anyTests = fc
    .tuple(of('text'), fc.constantFrom('startsWithAny', 'endsWithAny', 'containsAny'), texts)
    .map(([a, test, list]) => term(a, '.', test, '(', ...list, ')'));
  const patterns = fc
    .tuple(of('text'), fc.constantFrom('^/tmp', 's?h$', '(?i)BASH', '[^a-z]', '', 'a|b'))
    .map(([a, pattern]) => term(a, '.', 'matches', '(', JSON.stringify(pattern), ')'));
  const members = fc.tuple(of('text'), of('list')).map(([a, b]) => term(a, 'in', b));
  const numbers = fc
    .tuple(of('int'), fc.array(of('int'), { minLength: 1, maxLength: 3 }))
    .map(([a, list]) => term(a, 'in', term('[', ...list.flatMap((b, i) => (i === 0 ? [b] : [',', b])), ']')));
  const conditions = [...comparisons, tests, anyTests, patterns, members, numbers];
  if (item) return fc.oneof(...conditions);
  const loops = fc
    .tuple(of('list'), fc.constantFrom('exists', 'all', 'exists_one'), sorted('bool', Math.min(depth - 1, 2), true))
    .map(([list, quantifier, body]) => term(list, '.', quantifier, '(', 'arg', ',', body, ')'));
  return fc.oneof(...conditions, loops);
}

/** Of type bool. Nested at most three deep, and without nested comprehensions but for those that `item` excludes. */
export const filter: fc.Arbitrary<Term> = sorted('bool', 3, false);
