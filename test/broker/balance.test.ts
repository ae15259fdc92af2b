/** A broker that has clearly more nodes than the others sends some to them, one by one, and stops at the mean. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { Balance } from '../../src/broker/balance.js';
import {
  BALANCE_AGE_MS_MIN,
  BALANCE_ARRIVAL_MS,
  BALANCE_PATIENCE_MS,
  BALANCE_PAUSE_MS_MAX,
  BALANCE_RATIO,
  BALANCE_SLACK,
} from '../../src/limits.js';

/** Two brokers and a clock. Whoever is sent from the first is at the second after `wayMs`, or back at the first. */
class Brokers {
  nowMs = 1_000_000;
  own: { sinceMs: number; isFixed: boolean }[] = [];
  others: number[] = [];
  areKnown = true;
  wayMs = 500;
  returns = false;
  /** When one was sent. */
  readonly sentMs: number[] = [];
  readonly balance: Balance;
  #arrivals: { readonly atMs: number; readonly arrive: () => void }[] = [];

  constructor() {
    this.balance = new Balance(
      {
        others: () => (this.areKnown ? this.others : []),
        agents: {
          connected: () => this.own.length,
          movable: () => this.own.filter(({ isFixed }) => !isFixed).map((each) => this.#movable(each)),
        },
        logger: pino({ enabled: false }),
      },
      () => this.nowMs,
      () => 0,
    );
  }

  connect(count: number, ageMs = BALANCE_AGE_MS_MIN, isFixed = false): void {
    for (let left = count; left > 0; left -= 1) this.own.push({ sinceMs: this.nowMs - ageMs, isFixed });
  }

  pass(seconds: number): void {
    for (let left = seconds; left > 0; left -= 1) {
      this.nowMs += 1_000;
      const due = this.#arrivals.filter(({ atMs }) => atMs <= this.nowMs);
      this.#arrivals = this.#arrivals.filter(({ atMs }) => atMs > this.nowMs);
      for (const { arrive } of due) arrive();
      this.balance.look();
    }
  }

  #movable(node: { sinceMs: number; isFixed: boolean }) {
    let isThere = false;
    return {
      sinceMs: node.sinceMs,
      hasArrived: () => isThere,
      leave: () => {
        this.sentMs.push(this.nowMs);
        this.own.splice(this.own.indexOf(node), 1);
        const arrive = () => {
          if (this.returns) this.own.push({ sinceMs: this.nowMs, isFixed: false });
          else {
            isThere = true;
            this.others[0]! += 1;
          }
        };
        this.#arrivals.push({ atMs: this.nowMs + this.wayMs, arrive });
      },
    };
  }
}

const PATIENCE_S = BALANCE_PATIENCE_MS / 1_000;

test('a broker that was started again gets its part, one node a second, and no more', () => {
  const brokers = new Brokers();
  brokers.connect(200);
  brokers.others = [0];
  brokers.pass(PATIENCE_S);
  assert.deepEqual(brokers.sentMs, [], 'it may be about to get them by itself');
  brokers.pass(50);
  assert.equal(brokers.sentMs.length, 50);
  brokers.pass(1_000);
  assert.deepEqual([brokers.own.length, brokers.others], [100, [100]]);
});

test('what chance makes of equal brokers is left, and so is all where others are not known', () => {
  const brokers = new Brokers();
  brokers.others = [80];
  brokers.connect(120);
  const [own, mean] = [120, 100];
  assert.ok(own <= BALANCE_RATIO * mean + BALANCE_SLACK);
  brokers.pass(1_000);
  brokers.others = [];
  brokers.pass(1_000);
  assert.deepEqual(brokers.sentMs, []);
});

test('what was begun goes on to the mean, also where the others were not known for a moment', () => {
  const brokers = new Brokers();
  brokers.connect(30);
  brokers.others = [0];
  brokers.pass(PATIENCE_S + 13);
  assert.ok(brokers.own.length <= BALANCE_RATIO * 15 + BALANCE_SLACK && brokers.own.length > 15);
  brokers.areKnown = false;
  brokers.pass(1);
  brokers.areKnown = true;
  brokers.pass(10);
  assert.equal(brokers.own.length, 15);
});

test('none goes that came only now, or is in the zone of this broker', () => {
  const brokers = new Brokers();
  brokers.others = [0];
  brokers.connect(50, 0, true);
  brokers.connect(10, -40_000);
  brokers.pass(PATIENCE_S + 79);
  assert.equal(brokers.sentMs.length, 0);
  brokers.pass(1_000);
  assert.deepEqual([brokers.own.length, brokers.others], [50, [10]]);
});

test('the next goes when the last has arrived', () => {
  const brokers = new Brokers();
  brokers.others = [0];
  brokers.connect(100);
  brokers.wayMs = 4_000;
  brokers.pass(PATIENCE_S + 40);
  assert.equal(brokers.sentMs.length, 10);
});

test('nodes that come back, as they know no other broker, are sent ever more seldom, until one arrives', () => {
  const brokers = new Brokers();
  brokers.others = [0];
  brokers.connect(100);
  brokers.returns = true;
  const day = 86_400;
  brokers.pass(day);
  const { sentMs } = brokers;
  const pauses = sentMs.slice(1).map((ms, at) => ms - sentMs[at]!);
  assert.ok(pauses[0]! >= 2 * BALANCE_ARRIVAL_MS && pauses[1]! > pauses[0]!);
  assert.equal(Math.max(...pauses), BALANCE_PAUSE_MS_MAX + BALANCE_ARRIVAL_MS);
  assert.ok(sentMs.length < 40, `${sentMs.length} in a day`);
  brokers.returns = false;
  brokers.pass(7_200);
  assert.deepEqual([brokers.own.length, brokers.others], [50, [50]]);
});
