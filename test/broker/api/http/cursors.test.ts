/** Who saves the last cursor that a line had, and stops at any line, loses nothing by going on from there. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Harness, range, until } from '../../../harness/broker/harness.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

interface Line {
  readonly event?: { process: { pid: number } };
  readonly cursor?: string;
  readonly gap?: { reason: string; events: string };
  readonly watermark?: { cursor: string };
  readonly coverage?: { cursor: string };
}

const ASKED = 'topic=process&topic=network&follow=true';
const ROUNDS = 24;

/** Lines up to the first at which all has come that is waited for. */
async function linesOf(query: string, enough: (lines: readonly Line[]) => boolean): Promise<Line[]> {
  const abort = new AbortController();
  const response = await fetch(`http://${harness.broker.httpAddress}/v1/events?${query}`, { signal: abort.signal });
  assert.equal(response.status, 200);
  const lines: Line[] = [];
  const reading = (async () => {
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body!) {
      const parts = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
      rest = parts.pop()!;
      for (const part of parts) lines.push((JSON.parse(part) as { result: Line }).result);
    }
  })().catch(() => undefined);
  await until(`all that ${query.slice(0, 60)} asks for`, () => enough(lines));
  abort.abort();
  await reading;
  return lines;
}

const pidsOf = (lines: readonly Line[]) => lines.flatMap(({ event }) => event?.process.pid ?? []);
const cursorOf = ({ cursor, watermark, coverage }: Line) => cursor ?? watermark?.cursor ?? coverage?.cursor ?? '';
const shedOf = (lines: readonly Line[]) =>
  lines.reduce((sum, { gap }) => sum + (gap?.reason === 'shed' ? Number(gap.events) : 0), 0);

/** Each round is a frame of each topic, of three events; of every fifth nothing is sent. Returns how many are shed. */
function publish(agent: TestAgent): number {
  let shed = 0;
  for (const round of range(0, ROUNDS)) {
    agent.shedding = round % 5 === 4;
    for (const index of range(0, 3)) {
      agent.recorder.record('process.exec', 1000 + 10 * round + index);
      agent.recorder.record('network.tcp.connect', 2000 + 10 * round + index);
    }
    if (agent.shedding) shed += 6;
    agent.publish();
  }
  return shed;
}

test('HTTP streams resumed after any line may repeat events, and miss none', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(1, 40)) agent.recorder.record(pid % 2 ? 'process.exec' : 'network.tcp.connect', pid);
  let shed = -1;
  const whole = await linesOf(`${ASKED}&since=1h`, (lines) => {
    // Once it is live.
    if (shed < 0 && lines.some(({ coverage }) => coverage)) shed = publish(agent);
    const had = pidsOf(lines).length;
    return shedOf(lines) === shed && had >= 39 + 6 * ROUNDS - shed && cursorOf(lines.at(-1)!) !== '';
  });
  const all = pidsOf(whole);
  assert.equal(new Set(all).size, all.length);
  assert.equal(all.length, 39 + 6 * ROUNDS - shed);
  for (const [index, line] of whole.entries()) {
    // A batch's last event has the cursor, whatever follows it.
    if (line.event && !whole[index + 1]?.event) assert.notEqual(cursorOf(line), '', `line ${index}`);
    if (index % 5 !== 0 && !line.gap) continue;
    const seen = whole.slice(0, index + 1);
    const at = seen.findLastIndex((each) => cursorOf(each) !== '');
    const from = at < 0 ? 'since=1h' : `cursor=${cursorOf(seen[at]!)}`;
    let rest: readonly Line[] = [];
    const missing = () => {
      const had = new Set([...pidsOf(seen), ...pidsOf(rest)]);
      return all.filter((pid) => !had.has(pid));
    };
    rest = await linesOf(`${ASKED}&${from}`, (lines) => {
      rest = lines;
      // What was shed is in the recorder: as history it comes after all, and is no gap.
      return missing().length === 0 && lines.some((each) => cursorOf(each) !== '' || each.event);
    }).catch((cause) =>
      assert.fail(`stopped at line ${index}, gone on from line ${at}: ${missing()} missing: ${cause}`),
    );
  }
});
