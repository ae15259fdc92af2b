/**
 * What one more predicate costs a broker, beside many, for the nodes that are connected to it: working out what each node is to be told, the
 * bytes that nodes are told, the steps in which brokers say from where frames are complete, and the bytes of these.
 *
 *   node dist/bench/parts/interest.js [nodes] [predicates]
 */
import { NodeRecord } from '../../src/broker/nodes/node-record.js';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { controlResponseCodec } from '../../src/wire/messages.js';
import { newBook } from '../../test/harness/broker/stores.js';
import { median, report, round } from '../measuring/report.js';

const [nodeCount = 100, predicates = 1_000] = process.argv.slice(2).map(Number);
const CHANGES = 10;

const specOf = (number: number) => {
  const filter = `process.executable.path == "/usr/lib/something/program-${number}" && process.user.id == 0`;
  return compilePredicate({ topics: ['process'], filter, includeSelf: false, fields: [] }).spec;
};
const messageOf = ({ id, topics, filter, includeSelf, fields }: ReturnType<typeof specOf>) => {
  return { id: id.toString(), topics: [...topics], filter, includeSelf, fields: [...fields] };
};

const book = newBook();
for (let number = 0; number < predicates; number++) await book.claim(specOf(number), ['*'], () => true);
const records = Array.from({ length: nodeCount }, (_, at) => new NodeRecord(`node-${at}`));
let generation = 0;
let timeNs = 0n;

function tellAll() {
  generation++;
  return records.map((record) => {
    const wanted = book.forNode(record.name);
    record.narrow(wanted);
    return record.ask(wanted, generation);
  });
}

function answerAll(): void {
  timeNs += 1_000_000n;
  for (const record of records) record.acknowledge(generation, { epoch: 1, timeNs, lane: 0, tie: 0 }, new Map());
}

const cpuMs = (run: () => void) => {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

tellAll();
answerAll();
const told: number[] = [];
const answered: number[] = [];
const stepped: number[] = [];
let changeBytes = 0;
let stepBytes = 0;
for (let change = 0; change < CHANGES; change++) {
  const spec = specOf(predicates + change);
  await book.claim(spec, ['*'], () => true);
  told.push(cpuMs(tellAll));
  answered.push(cpuMs(answerAll));
  changeBytes = controlResponseCodec.encode({
    interestChange: { generation, base: generation - 1, added: [messageOf(spec)], removed: [] },
  }).length;
  stepped.push(
    cpuMs(() => {
      for (const record of records) {
        stepBytes = JSON.stringify(record.stepsOf(book.forNode(record.name)).toValue()).length;
      }
    }),
  );
}
const all = book.forNode('node-0').predicates;
const wholeBytes = controlResponseCodec.encode({ interest: { generation, predicates: all.map(messageOf) } }).length;
const perChange = (bytes: number) => round((bytes * nodeCount) / 2 ** 20, 1);
report('one more predicate', [
  {
    nodes: nodeCount,
    predicates,
    'whole, bytes': wholeBytes,
    'change, bytes': changeBytes,
    'MiB told, whole': perChange(wholeBytes),
    'MiB told, changes': perChange(changeBytes),
    'told, CPU ms': round(median(told), 1),
    'answered, CPU ms': round(median(answered), 1),
    'steps, CPU ms': round(median(stepped), 1),
    'steps, bytes a node': stepBytes,
  },
]);
