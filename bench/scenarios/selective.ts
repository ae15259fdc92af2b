/**
 * What finding a few events among many costs: 200,000 events recorded a second, and a listener whose filter lets one in a
 * thousand pass. CPU time of each process per million recorded events, of the agent also with nobody listening; it makes
 * the events here, too. Once they are mostly system calls, as so many events a second are, with 600 programs started among
 * them, and once all are of programs that start and end, 25,000 a second.
 *
 *   node dist/bench/scenarios/selective.js [SECONDS]
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, Command } from '../../test/harness/bus/bus.js';
import { cpuSeconds } from '../measuring/process-cost.js';
import { report, round } from '../measuring/report.js';

const SECONDS = Number(process.argv[2] ?? 30);
const EVENTS_PER_SECOND = 200_000;
const WARM_UP_MS = 10_000;

interface Load {
  readonly what: string;
  readonly mix: string;
  /** Lets one recorded event in a thousand pass. */
  readonly filter: string;
}

const LOADS: readonly Load[] = [
  {
    what: 'mostly system calls',
    mix: 'life=1,syscall=39',
    filter: 'event.type == "process.exec" && process.pid % 3 == 0',
  },
  { what: 'programs', mix: 'life=1', filter: 'process.pid % 1000 == 7' },
];

const rows = [];
for (const { what, mix, filter } of LOADS) {
  const bus = await Bus.start({
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: String(EVENTS_PER_SECOND),
    BACKPLANE_SYNTHETIC_MIX: mix,
    BACKPLANE_AGENT_GUARD_CPU: '0',
  });
  try {
    rows.push(await measure(bus, `${what}, nobody listens`, undefined));
    rows.push(await measure(bus, `${what}, one in 1,000 asked for`, ['--filter', filter]));
  } finally {
    await bus.destroy();
  }
}
report('a few events among many', rows, { seconds: SECONDS, asked: EVENTS_PER_SECOND });

async function measure(bus: Bus, what: string, args: readonly string[] | undefined) {
  let lines = 0;
  const observe = args && new Command(['observe', '-o', 'json', '--follow', ...args], bus.env, false);
  observe?.child.stdout?.on('data', (bytes: Buffer) => {
    for (const byte of bytes) if (byte === 0x0a) lines += 1;
  });
  try {
    await sleep(WARM_UP_MS);
    const pids = [await bus.agentPid(), bus.up.child.pid!, ...(observe ? [observe.child.pid!] : [])];
    const began = { recorded: await recorded(bus), lines, cpu: pids.map(cpuSeconds) };
    await sleep(SECONDS * 1000);
    const events = (await recorded(bus)) - began.recorded;
    const [agent = 0, broker = 0, command = 0] = pids.map(
      (pid, at) => ((cpuSeconds(pid) - began.cpu[at]!) / events) * 1e6,
    );
    return {
      what,
      'recorded/s': round(events / SECONDS, 0),
      'delivered/s': round((lines - began.lines) / SECONDS, 0),
      'agent, s per million': round(agent, 2),
      broker: round(broker, 2),
      observe: round(command, 2),
    };
  } finally {
    await observe?.stop('SIGINT');
  }
}

async function recorded(bus: Bus): Promise<number> {
  const { nodes } = (await (await bus.get('/v1/nodes')).json()) as { nodes: { eventsRecorded: string }[] };
  return Number(nodes[0]!.eventsRecorded);
}
