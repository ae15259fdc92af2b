/**
 * What the profile `udp` costs while somebody asks for it: CPU time of the program itself, in nanoseconds, for each
 * datagram that it sends over the loopback interface, each send by TCP, and each other system call. In blocks with and
 * without the profile, in turn. Prints medians, and the mean difference with its 95 % interval. As root, with python3.
 *
 *   node dist/bench/scenarios/datagram-cost.js [RUNS]
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../../test/harness/bus/bus.js';
import { median, report, round } from '../measuring/report.js';

const RUNS = Number(process.argv[2] ?? 40);
/** Runs of one arm before the other has its turn: starting an arm takes seconds. */
const BLOCK = 10;
const CALLS = 20_000;
/** Normal distribution, 97.5 %. */
const Z = 1.96;

const PROGRAM = `
import json, os, socket, threading, time
N = ${CALLS}
def cost(call):
    began = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
    for _ in range(N): call()
    return (time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - began) / N
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); peer.bind(("127.0.0.1", 0))
plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); connected.connect(peer.getsockname())
to = peer.getsockname()
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
client = socket.socket(); client.connect(server.getsockname()); taken, _ = server.accept()
def drain():
    while taken.recv(65536): pass
threading.Thread(target=drain, daemon=True).start()
print(json.dumps({
    "datagram to a peer that is named": cost(lambda: plain.sendto(b"x", to)),
    "datagram of a connected socket": cost(lambda: connected.send(b"x")),
    "send by TCP": cost(lambda: client.send(b"x")),
    "getppid": cost(os.getppid),
}))
os._exit(0)
`;

const ARMS = ['without', 'with'] as const;
type Arm = (typeof ARMS)[number];
const costs: Record<Arm, Record<string, number[]>> = { without: {}, with: {} };

for (let done = 0; done < RUNS; done += BLOCK) for (const arm of ARMS) await block(arm);

report(
  'what the profile udp costs, ns',
  Object.keys(costs.with).map((what) => {
    const [without, withIt] = ARMS.map((arm) => costs[arm][what]!) as [number[], number[]];
    const added = withIt.map((ns, at) => ns - without[at]!);
    const mean = added.reduce((sum, ns) => sum + ns, 0) / added.length;
    const variance = added.reduce((sum, ns) => sum + (ns - mean) ** 2, 0) / (added.length - 1);
    const half = Z * Math.sqrt(variance / added.length);
    return {
      what,
      'without, median': round(median(without), 0),
      'with, median': round(median(withIt), 0),
      'added, mean': round(mean, 0),
      from: round(mean - half, 0),
      to: round(mean + half, 0),
    };
  }),
  { runs: RUNS, calls: CALLS },
);

async function block(arm: Arm): Promise<void> {
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: arm === 'with' ? 'lite,udp' : 'lite' });
  try {
    const observer = await bus.follow('--topic', 'network');
    await sleep(300);
    for (let run = 0; run < BLOCK; run += 1) {
      const said = execFileSync('python3', ['-c', PROGRAM], { encoding: 'utf8' });
      for (const [what, ns] of Object.entries(JSON.parse(said) as Record<string, number>)) {
        costs[arm][what] ??= [];
        costs[arm][what].push(ns);
      }
    }
    await observer.stop('SIGINT');
  } finally {
    await bus.destroy();
  }
}
