/**
 * Renders decoded fields as the kernel's `trace` file does, event by event, so
 * that a capture can be held against the kernel's own words.
 */
export type PlainFields = Record<string, number | string | boolean | (number | string)[]>;

const TCP_STATES = [
  '',
  'TCP_ESTABLISHED',
  'TCP_SYN_SENT',
  'TCP_SYN_RECV',
  'TCP_FIN_WAIT1',
  'TCP_FIN_WAIT2',
  'TCP_TIME_WAIT',
  'TCP_CLOSE',
  'TCP_CLOSE_WAIT',
  'TCP_LAST_ACK',
  'TCP_LISTEN',
  'TCP_CLOSING',
  'TCP_NEW_SYN_RECV',
];
const FAMILIES: Record<string, string> = { 2: 'AF_INET', 10: 'AF_INET6' };
const PROTOCOLS: Record<string, string> = { 6: 'IPPROTO_TCP', 132: 'IPPROTO_SCTP', 262: 'IPPROTO_MPTCP' };

type Render = (f: PlainFields) => string;
const RENDER: Record<string, Render> = {
  sched_process_exec: (f) => `filename=${f.filename} pid=${f.pid} old_pid=${f.old_pid}`,
  sched_process_exit: (f) =>
    `comm=${f.comm} pid=${f.pid} prio=${f.prio}${'group_dead' in f ? ` group_dead=${f.group_dead}` : ''}`,
  sched_process_fork: (f) =>
    `comm=${f.parent_comm} pid=${f.parent_pid} child_comm=${f.child_comm} child_pid=${f.child_pid}`,
  signal_generate: (f) =>
    `sig=${f.sig} errno=${f.errno} code=${f.code} comm=${f.comm} pid=${f.pid} grp=${f.group} res=${f.result}`,
  task_newtask: (f) => `pid=${f.pid} comm=${f.comm} clone_flags=${hex(f.clone_flags)} oom_score_adj=${f.oom_score_adj}`,
  task_rename: (f) => `pid=${f.pid} oldcomm=${f.oldcomm} newcomm=${f.newcomm} oom_score_adj=${f.oom_score_adj}`,
  sys_enter: (f) => `NR ${f.id} (${(f.args as number[]).map(hex).join(', ')})`,
  sys_exit: (f) => `NR ${f.id} = ${f.ret}`,
  inet_sock_set_state: (f) =>
    `family=${FAMILIES[String(f.family)]} protocol=${PROTOCOLS[String(f.protocol)]} sport=${f.sport} dport=${f.dport} ` +
    `saddr=${ipv4(f.saddr)} daddr=${ipv4(f.daddr)} saddrv6=${ipv6(f.saddr_v6)} daddrv6=${ipv6(f.daddr_v6)} ` +
    `oldstate=${TCP_STATES[f.oldstate as number]} newstate=${TCP_STATES[f.newstate as number]}`,
};

/**
 * What stands behind the time stamp: `sched_process_exit: comm=true ...`, or `sys_openat(dfd: ...)`, with arguments as
 * hexadecimal numbers without a prefix.
 */
export function kernelText(event: string, fields: PlainFields): string {
  const render = RENDER[event];
  if (render !== undefined) return `${event}: ${render(fields)}`;
  if (event.startsWith('sys_exit_')) return `${event.replace('_exit', '')} -> 0x${hex(fields.ret)}`;
  if (!event.startsWith('sys_enter_')) throw new Error(`no text form for ${event}`);
  const args = Object.entries(fields).filter(([name]) => name !== '__syscall_nr');
  return `${event.replace('_enter', '')}(${args.map(([name, value]) => `${name}: ${hex(value)}`).join(', ')})`;
}

function hex(value: unknown): string {
  return BigInt.asUintN(64, BigInt(value as number | string)).toString(16);
}

function ipv4(value: unknown): string {
  return (value as number[]).join('.');
}

/** %pI6c: the longest run of zero groups (two at least, the first of equals) becomes `::`. */
function ipv6(value: unknown): string {
  const b = value as number[];
  const groups = Array.from({ length: 8 }, (_, i) => (b[2 * i]! << 8) | b[2 * i + 1]!);
  const mapped = groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff;
  const shown = mapped ? groups.slice(0, 6) : groups;
  let best = { at: -1, run: 1 };
  for (let at = 0; at < shown.length; at++) {
    let run = 0;
    while (shown[at + run] === 0) run++;
    if (run > best.run) best = { at, run };
  }
  const words = shown.map((g) => g.toString(16));
  const tail = mapped ? [b.slice(12).join('.')] : [];
  if (best.at < 0) return [...words, ...tail].join(':');
  return `${words.slice(0, best.at).join(':')}::${[...words.slice(best.at + best.run), ...tail].join(':')}`;
}
