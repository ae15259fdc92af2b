/**
 * Formats for sources that write pages themselves, so that what they write is
 * read like any kernel's. Ids and offsets are those of Linux 6.18 on x86-64.
 */
import { FormatTable } from './pages/format.js';

/** Declaration, offset, size, signed. */
type Row = readonly [string, number, number, 0 | 1];

const COMMON: readonly Row[] = [
  ['unsigned short common_type', 0, 2, 0],
  ['unsigned char common_flags', 2, 1, 0],
  ['unsigned char common_preempt_count', 3, 1, 0],
  ['int common_pid', 4, 4, 1],
];

function text(name: string, id: number, rows: readonly Row[]): string {
  const lines = [...COMMON, ...rows].map(
    ([declaration, offset, size, signed]) =>
      `\tfield:${declaration};\toffset:${offset};\tsize:${size};\tsigned:${signed};`,
  );
  return `name: ${name}\nID: ${id}\nformat:\n${lines.join('\n')}\n`;
}

export const BUILTIN_FORMATS = FormatTable.parse({
  'sched/sched_process_exec': text('sched_process_exec', 365, [
    ['__data_loc char[] filename', 8, 4, 0],
    ['pid_t pid', 12, 4, 1],
    ['pid_t old_pid', 16, 4, 1],
  ]),
  'sched/sched_process_exit': text('sched_process_exit', 369, [
    ['char comm[16]', 8, 16, 0],
    ['pid_t pid', 24, 4, 1],
    ['int prio', 28, 4, 1],
    ['bool group_dead', 32, 1, 0],
  ]),
  'task/task_newtask': text('task_newtask', 205, [
    ['pid_t pid', 8, 4, 1],
    ['char comm[16]', 12, 16, 0],
    ['u64 clone_flags', 32, 8, 0],
    ['short oom_score_adj', 40, 2, 1],
  ]),
  'task/task_rename': text('task_rename', 204, [
    ['pid_t pid', 8, 4, 1],
    ['char oldcomm[16]', 12, 16, 0],
    ['char newcomm[16]', 28, 16, 0],
    ['short oom_score_adj', 44, 2, 1],
  ]),
  'signal/signal_generate': text('signal_generate', 261, [
    ['int sig', 8, 4, 1],
    ['int errno', 12, 4, 1],
    ['int code', 16, 4, 1],
    ['char comm[16]', 20, 16, 0],
    ['pid_t pid', 36, 4, 1],
    ['int group', 40, 4, 1],
    ['int result', 44, 4, 1],
  ]),
  'sock/inet_sock_set_state': text('inet_sock_set_state', 2287, [
    ['const void * skaddr', 8, 8, 0],
    ['int oldstate', 16, 4, 1],
    ['int newstate', 20, 4, 1],
    ['__u16 sport', 24, 2, 0],
    ['__u16 dport', 26, 2, 0],
    ['__u16 family', 28, 2, 0],
    ['__u16 protocol', 30, 2, 0],
    ['__u8 saddr[4]', 32, 4, 0],
    ['__u8 daddr[4]', 36, 4, 0],
    ['__u8 saddr_v6[16]', 40, 16, 0],
    ['__u8 daddr_v6[16]', 56, 16, 0],
  ]),
  'raw_syscalls/sys_enter': text('sys_enter', 443, [
    ['long id', 8, 8, 1],
    ['unsigned long args[6]', 16, 48, 0],
  ]),
  'raw_syscalls/sys_exit': text('sys_exit', 442, [
    ['long id', 8, 8, 1],
    ['long ret', 16, 8, 1],
  ]),
});
