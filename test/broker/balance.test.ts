/** A broker that has clearly more nodes than the others sends some to them, one by one, and stops at the mean. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { Balance } from '../../src/broker/balance.js';
import {
  BALANCE_AGE_MS_MIN,
  BALANCE_EXCESS_MAX,
  BALANCE_PATIENCE_MS,
  BALANCE_PAUSE_MS,
  BALANCE_RATIO,
  BALANCE_RETURNS_MAX,
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
    let [isThere, isBack] = [false, false];
    return {
      sinceMs: node.sinceMs,
      hasArrived: () => isThere,
      isBack: () => isBack,
      leave: () => {
        this.sentMs.push(this.nowMs);
        this.own.splice(this.own.indexOf(node), 1);
        const arrive = () => {
          if (this.returns) {
            isBack = true;
            this.own.push({ sinceMs: this.nowMs, isFixed: false });
          } else {
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

test('where nodes come back, as they know no other broker, few are sent, and seldom, until they arrive', () => {
  const brokers = new Brokers();
  brokers.others = [0];
  brokers.connect(100);
  brokers.returns = true;
  brokers.pass(BALANCE_PAUSE_MS / 1_000);
  assert.equal(brokers.sentMs.length, BALANCE_RETURNS_MAX);
  brokers.pass(BALANCE_PAUSE_MS / 1_000);
  assert.equal(brokers.sentMs.length, 2 * BALANCE_RETURNS_MAX);
  brokers.returns = false;
  brokers.pass(BALANCE_PAUSE_MS / 1_000);
  assert.deepEqual([brokers.own.length, brokers.others], [50, [50]]);
});

test('where as many come as are sent, as nobody knows the broker that has none, it is given up for a time', () => {
  const brokers = new Brokers();
  brokers.others = [60, 0];
  brokers.connect(60);
  const wanted = BALANCE_EXCESS_MAX * (60 - 40);
  let sent = 0;
  for (let seconds = BALANCE_PAUSE_MS / 1_000; seconds > 0; seconds -= 1) {
    brokers.pass(1);
    // The other one sends as many.
    for (; sent < brokers.sentMs.length; sent += 1) {
      brokers.others = [60, 0];
      brokers.connect(1);
    }
  }
  assert.equal(sent, wanted);
});
