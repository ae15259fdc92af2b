/** What brokers tell each other of an answer is lost on the way, and nothing comes behind it that would show it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import type { HistoryAnswer, HistoryOutcome } from '../../../../src/broker/nodes/history/history-answer.js';
import { decodeHistoryFrame } from '../../../../src/wire/frame/history-frame.js';
import { decodeHistoryMessage } from '../../../../src/wire/grpc/rpc.js';
import { decodeRoutePart, decodeRouteRequest } from '../../../../src/wire/route-message.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { ASKED_EVENTS, EVERYTHING, withAskedNode } from '../../../harness/nats/route-broker.js';
import { twoOnNats } from '../../../harness/nats/state-under-test.js';

const skip = needsNats();
const nats = twoOnNats();
/** Each window is one frame, as where a replay asks many nodes. */
const SMALL = { ...EVERYTHING, creditBytes: 4_096 };

/** The same connections, on which the first message is lost of which this is true. */
function losing(link: NatsLink, isLost: (data: Buffer) => boolean): { link: NatsLink; lost: () => boolean } {
  let lost = false;
  const publish: NatsLink['asking']['publish'] = (subject, data, options) => {
    if (!lost && isLost(Buffer.from(data as Uint8Array))) lost = true;
    else link.asking.publish(subject, data, options);
  };
  const asking = Object.create(link.asking, { publish: { value: publish } });
  return { link: { ...link, asking }, lost: () => lost };
}

/** What comes of the first answer where one side loses that. The same question asked again is answered whole. */
async function answerWhere(loses: 'asker' | 'server', isLost: (data: Buffer) => boolean): Promise<Answered> {
  const [asker, server] = nats.links;
  const { link, lost } = losing(loses === 'asker' ? asker : server, isLost);
  const links = loses === 'asker' ? ([link, server] as const) : ([asker, link] as const);
  let first: Answered | undefined;
  await withAskedNode(links, [{ pingMs: 50 }, {}], async ({ route }) => {
    first = await read(route.history('a', SMALL)!);
    assert.ok(lost(), 'something was lost');
    const again = await read(route.history('a', SMALL)!);
    assert.deepEqual([again.events, again.outcome.kind], [ASKED_EVENTS, 'end']);
  });
  return first!;
}

interface Answered {
  readonly events: number;
  readonly outcome: HistoryOutcome;
}

async function read(answer: HistoryAnswer): Promise<Answered> {
  let events = 0;
  for (let bytes = await answer.next(); bytes !== undefined; bytes = await answer.next()) {
    events += decodeHistoryFrame(bytes).wallNs.length;
  }
  return { events, outcome: answer.outcome! };
}

/** Of a part that ends a message; undefined for one that has none. */
function messageIn(data: Buffer) {
  const { more, bytes } = decodeRoutePart(data);
  return more || bytes.length === 0 ? undefined : decodeHistoryMessage(bytes);
}

const has = (data: Buffer, what: 'end' | 'frameBytes') => {
  const message = messageIn(data);
  return message !== undefined && what in message;
};

test('a frame that is lost while the node waits for credit ends the answer, and it is asked again', {
  skip,
}, async () => {
  const { outcome } = await answerWhere('server', (data) => has(data, 'frameBytes'));
  assert.ok(outcome.kind === 'failed' && outcome.away, JSON.stringify(outcome));
  assert.match(outcome.message, /others were lost on the way/);
});

test('an end that is lost ends the answer, and it is asked again', { skip }, async () => {
  const { events, outcome } = await answerWhere('server', (data) => has(data, 'end'));
  assert.equal(events, ASKED_EVENTS);
  assert.ok(outcome.kind === 'failed' && outcome.away, JSON.stringify(outcome));
  assert.match(outcome.message, /was lost on the way/);
});

test('a query that is lost ends the answer, and it is asked again', { skip }, async () => {
  const { outcome } = await answerWhere('asker', (data) => decodeRouteRequest(data).kind === 'query');
  assert.ok(outcome.kind === 'failed' && outcome.away, JSON.stringify(outcome));
  assert.match(outcome.message, /was lost on the way/);
});

test('credit that is lost is said again, and the answer goes on', { skip }, async () => {
  const { events, outcome } = await answerWhere('asker', (data) => {
    const request = decodeRouteRequest(data);
    return request.kind === 'credit' && request.bytes > 0;
  });
  assert.deepEqual([events, outcome.kind], [ASKED_EVENTS, 'end']);
});
